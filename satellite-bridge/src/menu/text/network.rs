//! Texts of the network.

super::texts! {
    SETTINGS = "Network settings" | "Netzwerkeinstellungen" | "Réglages du réseau" | "Impostazioni di rete";
    CHANGE = "Change the settings" | "Einstellungen ändern" | "Changer les réglages" | "Cambiare le impostazioni";
    TRY = "Try and apply" | "Prüfen und anwenden" | "Essayer et appliquer" | "Provare e applicare";
    HOST_NAME = "Host name" | "Rechnername" | "Nom de machine" | "Nome macchina";
    PORT = "Network port" | "Netzwerkanschluss" | "Port réseau" | "Porta di rete";
    PORT_AUTOMATIC = "the one in use" | "der benutzte" | "celui utilisé" | "quella in uso";
    LINK_UP = "connected" | "verbunden" | "connecté" | "collegata";
    LINK_DOWN = "no cable" | "kein Kabel" | "pas de câble" | "senza cavo";
    GATEWAY = "Gateway" | "Gateway" | "Passerelle" | "Gateway";
    IPV4 = "IPv4" | "IPv4" | "IPv4" | "IPv4";
    IPV6 = "IPv6" | "IPv6" | "IPv6" | "IPv6";
    DHCP = "automatic (DHCP)" | "automatisch (DHCP)" | "automatique (DHCP)" | "automatico (DHCP)";
    AUTOMATIC = "automatic" | "automatisch" | "automatique" | "automatico";
    BY_HAND = "set by hand" | "von Hand" | "à la main" | "a mano";
    OFF = "off" | "aus" | "désactivé" | "disattivato";
    IPV4_ADDRESS = "IPv4 address" | "IPv4-Adresse" | "Adresse IPv4" | "Indirizzo IPv4";
    IPV4_GATEWAY = "IPv4 gateway" | "IPv4-Gateway" | "Passerelle IPv4" | "Gateway IPv4";
    IPV6_ADDRESS = "IPv6 address" | "IPv6-Adresse" | "Adresse IPv6" | "Indirizzo IPv6";
    IPV6_GATEWAY = "IPv6 gateway" | "IPv6-Gateway" | "Passerelle IPv6" | "Gateway IPv6";
    DNS = "Name servers (DNS)" | "Namensserver (DNS)" | "Serveurs de noms (DNS)" | "Server dei nomi (DNS)";
    NTP = "Time servers (NTP)" | "Zeitserver (NTP)" | "Serveurs de temps (NTP)" | "Server orari (NTP)";
    VLAN = "VLAN" | "VLAN" | "VLAN" | "VLAN";
    MTU = "MTU" | "MTU" | "MTU" | "MTU";
    PROXY = "Proxy for services" | "Proxy für Dienste" | "Proxy des services" | "Proxy per i servizi";

    HOST_NAME_HINT = "Letters a-z, digits, hyphens. Empty: the shipped name." | "Buchstaben a-z, Ziffern, Bindestriche. Leer: ab Werk."
        | "Lettres a-z, chiffres, tirets. Vide : le nom d'origine." | "Lettere a-z, cifre, trattini. Vuoto: nome di fabbrica.";
    PORT_HINT = "The port that the settings are for." | "Der Anschluss, für den die Einstellungen gelten."
        | "Le port que concernent ces réglages." | "La porta a cui valgono le impostazioni.";
    IPV4_HINT = "Left and Right: from the DHCP server, or set by hand." | "Links und Rechts: vom DHCP-Server, oder von Hand."
        | "Gauche et Droite : par DHCP, ou à la main." | "Sinistra e Destra: da DHCP, o a mano.";
    IPV4_ADDRESS_HINT = "With prefix length or mask: 192.168.1.20/24 or 192.168.1.20 255.255.255.0"
        | "Mit Präfixlänge oder Maske: 192.168.1.20/24 oder 192.168.1.20 255.255.255.0"
        | "Avec préfixe ou masque : 192.168.1.20/24 ou 192.168.1.20 255.255.255.0"
        | "Con prefisso o maschera: 192.168.1.20/24 o 192.168.1.20 255.255.255.0";
    IPV4_GATEWAY_HINT = "The router in the same subnet. Empty: none, only the own subnet is reached."
        | "Der Router im selben Subnetz. Leer: keiner, nur das eigene Subnetz ist erreichbar."
        | "Le routeur du même sous-réseau. Vide : aucun, seul ce sous-réseau est joint."
        | "Il router nella stessa sottorete. Vuoto: nessuno, si raggiunge solo la sottorete.";
    IPV6_HINT = "Left and Right: from the router (RA, DHCPv6), set by hand, or off."
        | "Links und Rechts: vom Router (RA, DHCPv6), von Hand, oder aus."
        | "Gauche et Droite : par le routeur (RA, DHCPv6), à la main, ou désactivé."
        | "Sinistra e Destra: dal router (RA, DHCPv6), a mano, o disattivato.";
    IPV6_ADDRESS_HINT = "With prefix length: 2001:db8::20/64" | "Mit Präfixlänge: 2001:db8::20/64"
        | "Avec préfixe : 2001:db8::20/64" | "Con prefisso: 2001:db8::20/64";
    IPV6_GATEWAY_HINT = "The router. Empty: the one that advertises itself." | "Der Router. Leer: der, der sich selbst ankündigt."
        | "Le routeur. Vide : celui qui s'annonce." | "Il router. Vuoto: quello che si annuncia.";
    DNS_HINT = "Addresses, separated by commas. Empty: those that the network offers."
        | "Adressen, durch Kommas getrennt. Leer: die das Netzwerk anbietet."
        | "Adresses séparées par des virgules. Vide : ceux qu'offre le réseau."
        | "Indirizzi separati da virgole. Vuoto: quelli offerti dalla rete.";
    NTP_HINT = "Names or addresses, separated by commas. Empty: those that the network offers."
        | "Namen oder Adressen, durch Kommas getrennt. Leer: die das Netzwerk anbietet."
        | "Noms ou adresses séparés par des virgules. Vide : ceux qu'offre le réseau."
        | "Nomi o indirizzi separati da virgole. Vuoto: quelli offerti dalla rete.";
    VLAN_HINT = "1 to 4094. Empty: none." | "1 bis 4094. Leer: keines." | "De 1 à 4094. Vide : aucun." | "Da 1 a 4094. Vuoto: nessuna.";
    MTU_HINT = "576 to 9216. Empty: as the port has it." | "576 bis 9216. Leer: wie der Anschluss sie hat."
        | "De 576 à 9216. Vide : celui du port." | "Da 576 a 9216. Vuoto: quella della porta.";
    PROXY_HINT = "http://proxy.example.com:3128. Empty: none." | "http://proxy.example.com:3128. Leer: keiner."
        | "http://proxy.example.com:3128. Vide : aucun." | "http://proxy.example.com:3128. Vuoto: nessuno.";

    FAULT_EMPTY = "Something is needed here." | "Hier wird etwas gebraucht." | "Ce champ est nécessaire." | "Questo campo è necessario.";
    FAULT_HOST_NAME = "1 to 63 of the letters a-z, digits, and hyphens inside." | "1 bis 63 der Buchstaben a-z, Ziffern, innen Bindestriche."
        | "De 1 à 63 lettres a-z, chiffres, et tirets à l'intérieur." | "Da 1 a 63 lettere a-z, cifre, e trattini all'interno.";
    FAULT_PORT = "There is no such port." | "Diesen Anschluss gibt es nicht." | "Ce port n'existe pas." | "Questa porta non esiste.";
    FAULT_ADDRESS = "This is not an address of this kind." | "Das ist keine solche Adresse."
        | "Ce n'est pas une telle adresse." | "Non è un indirizzo di questo tipo.";
    FAULT_PREFIX_MISSING = "The prefix length is missing, such as /24." | "Die Präfixlänge fehlt, etwa /24."
        | "Il manque la longueur du préfixe, comme /24." | "Manca la lunghezza del prefisso, come /24.";
    FAULT_PREFIX = "This prefix length or mask is not possible." | "Diese Präfixlänge oder Maske gibt es nicht."
        | "Ce préfixe ou ce masque est impossible." | "Questo prefisso o maschera non è possibile.";
    FAULT_NOT_FOR_MACHINES = "No machine can be reached at this address." | "Unter dieser Adresse ist keine Maschine erreichbar."
        | "Aucune machine ne peut avoir cette adresse." | "Nessuna macchina può avere questo indirizzo.";
    FAULT_SUBNET = "This address names the subnet, not a machine in it." | "Diese Adresse nennt das Subnetz, keine Maschine darin."
        | "Cette adresse nomme le sous-réseau, pas une machine." | "Questo indirizzo indica la sottorete, non una macchina.";
    FAULT_BROADCAST = "This address is for all machines of the subnet." | "Diese Adresse gilt allen Maschinen des Subnetzes."
        | "Cette adresse vise toutes les machines du sous-réseau." | "Questo indirizzo è per tutte le macchine della sottorete.";
    FAULT_GATEWAY_OUTSIDE = "The gateway {} is not in the subnet {}." | "Das Gateway {} ist nicht im Subnetz {}."
        | "La passerelle {} n'est pas dans le sous-réseau {}." | "Il gateway {} non è nella sottorete {}.";
    FAULT_GATEWAY_SELF = "The gateway cannot be the satellite itself." | "Das Gateway kann nicht der Satellit selbst sein."
        | "La passerelle ne peut pas être le satellite." | "Il gateway non può essere il satellite stesso.";
    FAULT_SERVER = "`{}` is no server." | "`{}` ist kein Server." | "`{}` n'est pas un serveur." | "`{}` non è un server.";
    FAULT_SERVERS = "At most {} servers." | "Höchstens {} Server." | "Au plus {} serveurs." | "Al massimo {} server.";
    FAULT_VLAN = "A number from 1 to 4094." | "Eine Zahl von 1 bis 4094." | "Un nombre de 1 à 4094." | "Un numero da 1 a 4094.";
    FAULT_MTU = "A number from 576 to 9216." | "Eine Zahl von 576 bis 9216." | "Un nombre de 576 à 9216." | "Un numero da 576 a 9216.";
    FAULT_MTU_IPV6 = "IPv6 needs at least 1280. Set more, or switch IPv6 off." | "IPv6 braucht mindestens 1280. Mehr setzen, oder IPv6 aus."
        | "IPv6 demande au moins 1280. Augmentez, ou désactivez IPv6." | "IPv6 richiede almeno 1280. Aumentare, o disattivare IPv6.";
    FAULT_PROXY = "It looks like http://proxy.example.com:3128" | "Er sieht so aus: http://proxy.example.com:3128"
        | "Il ressemble à http://proxy.example.com:3128" | "Ha la forma http://proxy.example.com:3128";
    FAULT_PROXY_PASSWORD = "A user name or password is not supported here." | "Benutzername oder Passwort gehen hier nicht."
        | "Nom d'utilisateur et mot de passe ne sont pas admis ici." | "Nome utente e password non sono ammessi qui.";

    PROBING = "The network is asked whether the settings can work. This takes a few seconds."
        | "Das Netzwerk wird gefragt, ob die Einstellungen gehen. Das dauert ein paar Sekunden."
        | "Le réseau est interrogé sur ces réglages. Quelques secondes."
        | "Si verifica nella rete se le impostazioni vanno bene. Qualche secondo.";
    APPLYING = "The settings are being applied." | "Die Einstellungen werden angewendet." | "Les réglages sont appliqués."
        | "Le impostazioni vengono applicate.";
    FOUND = "This was found out" | "Das kam heraus" | "Voici ce qui a été constaté" | "Risultato della prova";
    SEVERITY_ERROR = "WRONG:" | "FALSCH:" | "FAUX :" | "ERRATO:";
    SEVERITY_WARNING = "PROBABLY WRONG:" | "WOHL FALSCH:" | "SANS DOUTE FAUX :" | "FORSE ERRATO:";
    SEVERITY_NOTE = "Note:" | "Hinweis:" | "Note :" | "Nota:";
    FOUND_TAKEN = "The address {} is used by another machine ({})." | "Die Adresse {} hat schon eine andere Maschine ({})."
        | "L'adresse {} est prise par une autre machine ({})." | "L'indirizzo {} è usato da un'altra macchina ({}).";
    FOUND_GATEWAY = "The gateway {} does not answer." | "Das Gateway {} antwortet nicht." | "La passerelle {} ne répond pas."
        | "Il gateway {} non risponde.";
    FOUND_NO_CARRIER = "The port {} has no link: check cable or virtual switch." | "Der Anschluss {} hat keine Verbindung: Kabel oder virtuellen Switch prüfen."
        | "Le port {} n'a pas de liaison : vérifiez câble ou commutateur virtuel." | "La porta {} non è collegata: controllare cavo o switch virtuale.";
    FOUND_NO_SUCH_PORT = "There is no network port {}." | "Den Netzwerkanschluss {} gibt es nicht." | "Il n'y a pas de port réseau {}."
        | "Non c'è una porta di rete {}.";
    FOUND_NO_PORT = "The satellite has no wired network port." | "Der Satellit hat keinen Netzwerkanschluss."
        | "Le satellite n'a aucun port réseau." | "Il satellite non ha porte di rete.";
    FOUND_VLAN = "Addresses in VLAN {} can be tried only after the change." | "Adressen im VLAN {} lassen sich erst danach prüfen."
        | "Les adresses du VLAN {} ne se vérifient qu'après." | "Gli indirizzi nella VLAN {} si provano solo dopo.";
    FOUND_NOT_TRIED = "The network at the port {} could not be asked." | "Das Netzwerk am Anschluss {} ließ sich nicht befragen."
        | "Le réseau du port {} n'a pas pu être interrogé." | "Non è stato possibile interrogare la rete sulla porta {}.";
    CORRECT = "Correct the settings" | "Einstellungen berichtigen" | "Corriger les réglages" | "Correggere le impostazioni";
    APPLY_ANYWAY = "Apply them all the same" | "Trotzdem anwenden" | "Appliquer quand même" | "Applicare comunque";

    IN_FORCE = "The new settings are in force." | "Die neuen Einstellungen gelten." | "Les nouveaux réglages sont en vigueur."
        | "Le nuove impostazioni sono in vigore.";
    YOU_CONFIRM = "Do they work? Press Enter to keep them. If you do nothing, the old settings come back by themselves, also after a restart."
        | "Gehen sie? Enter behält sie. Geschieht nichts, kommen die alten von selbst zurück, auch nach einem Neustart."
        | "Marchent-ils ? Enter pour les garder. Sinon les anciens reviennent d'eux-mêmes, même après un redémarrage."
        | "Funzionano? Enter per tenerle. Altrimenti tornano da sole le vecchie, anche dopo un riavvio.";
    SERVER_CONFIRMS = "They are kept as soon as the server reaches this satellite with them. If it does not, the old settings come back by themselves, also after a restart."
        | "Sie bleiben, sobald der Server den Satelliten damit erreicht. Sonst kommen die alten von selbst zurück, auch nach einem Neustart."
        | "Ils restent dès que le serveur joint le satellite ainsi. Sinon les anciens reviennent d'eux-mêmes, même après un redémarrage."
        | "Restano appena il server raggiunge il satellite. Altrimenti tornano da sole le vecchie, anche dopo un riavvio.";
    SECONDS_LEFT = "{} s left" | "noch {} s" | "encore {} s" | "ancora {} s";
    FOOT_YOU_CONFIRM = "Enter: keep    Esc: take back now" | "Enter: behalten    Esc: jetzt zurück"
        | "Enter : garder    Esc : revenir tout de suite" | "Enter: tenere    Esc: annullare subito";
    FOOT_SERVER_CONFIRMS = "K: keep without the server    Esc: take back now" | "K: ohne den Server behalten    Esc: jetzt zurück"
        | "K : garder sans le serveur    Esc : revenir tout de suite" | "K: tenere senza il server    Esc: annullare subito";
    KEEP_ANYWAY = "The server has not reached the satellite with these settings. If the address is another one now, it must be set on the server too. Until then no backup and no update runs."
        | "Der Server hat den Satelliten so noch nicht erreicht. Ist die Adresse nun eine andere, muss sie auch am Server gesetzt werden. Bis dahin läuft keine Sicherung und kein Update."
        | "Le serveur n'a pas encore joint le satellite ainsi. Si l'adresse a changé, il faut aussi la changer sur le serveur. D'ici là, ni sauvegarde ni mise à jour."
        | "Il server non ha ancora raggiunto il satellite così. Se l'indirizzo è cambiato, va impostato anche sul server. Fino ad allora nessun backup né aggiornamento.";
    KEPT = "The new settings are kept." | "Die neuen Einstellungen bleiben." | "Les nouveaux réglages sont gardés." | "Le nuove impostazioni restano.";
    TAKEN_BACK = "The old settings are back." | "Die alten Einstellungen sind zurück." | "Les anciens réglages sont revenus."
        | "Le vecchie impostazioni sono tornate.";
}
