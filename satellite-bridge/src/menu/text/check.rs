//! Texts of the test of the connection.

super::texts! {
    FINE = "[ ok ]" | "[ ok ]" | "[ ok ]" | "[ ok ]";
    WRONG = "[FAIL]" | "[FEHL]" | "[FAUX]" | "[ERR.]";
    OPEN = "[ -- ]" | "[ -- ]" | "[ -- ]" | "[ -- ]";
    TESTING = "Testing. This takes a few seconds." | "Wird geprüft. Das dauert ein paar Sekunden." | "Test en cours. Quelques secondes."
        | "Prova in corso. Qualche secondo.";
    ALL_FINE = "Everything works, from the cable to the server." | "Alles geht, vom Kabel bis zum Server."
        | "Tout marche, du câble au serveur." | "Tutto funziona, dal cavo al server.";
    LINK = "Cable" | "Kabel" | "Câble" | "Cavo";
    LINK_ADVICE = "No cable is connected. In a VM: connect the network card to a virtual switch."
        | "Kein Kabel ist verbunden. In einer VM: Netzwerkkarte mit einem virtuellen Switch verbinden."
        | "Aucun câble. Dans une VM : reliez la carte réseau à un commutateur virtuel."
        | "Nessun cavo. In una VM: collegare la scheda di rete a uno switch virtuale.";
    ADDRESS = "Address" | "Adresse" | "Adresse" | "Indirizzo";
    ADDRESS_ADVICE = "The satellite has no address. Is there a DHCP server? Else set an address under Network."
        | "Der Satellit hat keine Adresse. Gibt es einen DHCP-Server? Sonst unter Netzwerk eine setzen."
        | "Le satellite n'a pas d'adresse. Y a-t-il un serveur DHCP ? Sinon fixez-en une sous Réseau."
        | "Il satellite non ha un indirizzo. C'è un server DHCP? Altrimenti impostarlo in Rete.";
    GATEWAY = "Gateway" | "Gateway" | "Passerelle" | "Gateway";
    NO_GATEWAY = "There is no gateway: only the own subnet is reached." | "Kein Gateway: nur das eigene Subnetz ist erreichbar."
        | "Pas de passerelle : seul ce sous-réseau est joint." | "Nessun gateway: si raggiunge solo la sottorete.";
    GATEWAY_ADVICE = "The gateway does not answer. Check its address under Network. Some answer no ping: then this is no fault."
        | "Das Gateway antwortet nicht. Adresse unter Netzwerk prüfen. Manche antworten auf kein Ping: dann ist es kein Fehler."
        | "La passerelle ne répond pas. Vérifiez son adresse sous Réseau. Certaines ignorent le ping : ce n'est alors pas un défaut."
        | "Il gateway non risponde. Controllarne l'indirizzo in Rete. Alcuni ignorano il ping: allora non è un guasto.";
    DNS = "Name servers (DNS)" | "Namensserver (DNS)" | "Serveurs de noms (DNS)" | "Server dei nomi (DNS)";
    NO_DNS = "No name server is known: servers must be named by address." | "Kein Namensserver bekannt: Server müssen per Adresse angegeben werden."
        | "Aucun serveur de noms : nommez les serveurs par adresse." | "Nessun server dei nomi: indicare i server per indirizzo.";
    DNS_ADVICE = "A name server does not answer. Check it under Network, and that the firewall lets 53/udp pass."
        | "Ein Namensserver antwortet nicht. Unter Netzwerk prüfen, und ob die Firewall 53/udp durchlässt."
        | "Un serveur de noms ne répond pas. Voyez Réseau, et si le pare-feu laisse passer 53/udp."
        | "Un server dei nomi non risponde. Controllare in Rete, e che il firewall lasci passare 53/udp.";
    CLOCK = "Clock" | "Uhr" | "Horloge" | "Orologio";
    CLOCK_ADVICE = "The clock follows no time server: is the time right? Else set it under Date and time."
        | "Die Uhr folgt keinem Zeitserver: stimmt die Zeit? Sonst unter Datum und Uhrzeit stellen."
        | "L'horloge ne suit aucun serveur de temps : est-elle juste ? Sinon voyez Date et heure."
        | "L'orologio non segue alcun server orario: è giusto? Altrimenti vedere Data e ora.";
    PORT = "Port of the bridge" | "Port der Bridge" | "Port du bridge" | "Porta del bridge";
    PORT_ADVICE = "The bridge takes no calls. It is started again by itself; if it stays so, read its log under Logs."
        | "Die Bridge nimmt keine Anrufe an. Sie startet von selbst neu; sonst ihr Protokoll lesen."
        | "Le bridge ne prend pas d'appels. Il redémarre de lui-même ; sinon lisez son journal."
        | "Il bridge non accetta chiamate. Si riavvia da solo; altrimenti leggere il suo registro.";
    SERVER = "Server" | "Server" | "Serveur" | "Server";
    SERVER_UNPAIRED = "The satellite is not connected to a server yet." | "Der Satellit ist noch mit keinem Server verbunden."
        | "Le satellite n'est encore connecté à aucun serveur." | "Il satellite non è ancora collegato a un server.";
    SERVER_ADVICE = "The server was not heard lately. It calls this satellite at 7640/tcp: the customer's firewall must let that pass, and the server must know the address above."
        | "Der Server war lange nicht zu hören. Er ruft diesen Satelliten an 7640/tcp an: die Firewall des Kunden muss das durchlassen, und der Server die Adresse oben kennen."
        | "Le serveur ne s'est pas fait entendre. Il appelle ce satellite sur 7640/tcp : le pare-feu du client doit le permettre, et le serveur connaître l'adresse ci-dessus."
        | "Il server non si fa sentire. Chiama questo satellite su 7640/tcp: il firewall del cliente deve permetterlo, e il server conoscere l'indirizzo qui sopra.";
}
