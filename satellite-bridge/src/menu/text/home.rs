//! Texts of the status page.

super::texts! {
    TITLE = "Satellite" | "Satellit" | "Satellite" | "Satellite";
    FOOT = "Enter: menu    L: Deutsch, Français, Italiano"
        | "Enter: Menü    L: English, Français, Italiano"
        | "Enter: menu    L: English, Deutsch, Italiano"
        | "Enter: menu    L: English, Deutsch, Français";
    NAME = "Name" | "Name" | "Nom" | "Nome";
    ADDRESS = "Address" | "Adresse" | "Adresse" | "Indirizzo";
    NO_ADDRESS = "none: check the cable, or see Network" | "keine: Kabel prüfen, oder siehe Netzwerk"
        | "aucune : vérifiez le câble, ou voyez Réseau" | "nessuno: controllare il cavo, o vedere Rete";
    LINK = "Link" | "Verbindung" | "Liaison" | "Collegamento";
    CONNECTED = "connected" | "verbunden" | "connecté" | "collegato";
    NO_CABLE = "no cable" | "kein Kabel" | "pas de câble" | "senza cavo";
    NO_CARD = "no network card found" | "keine Netzwerkkarte gefunden" | "aucune carte réseau trouvée"
        | "nessuna scheda di rete trovata";
    SERVER = "Server" | "Server" | "Serveur" | "Server";
    PAIRED = "paired with {}" | "verbunden mit {}" | "connecté à {}" | "collegato a {}";
    HEARD = "heard {} ago" | "gehört vor {}" | "entendu il y a {}" | "sentito {} fa";
    NOT_HEARD = "not heard since the start" | "seit dem Start nicht gehört" | "pas entendu depuis le démarrage"
        | "non sentito dall'avvio";
    WINDOW_OPEN = "waiting for a server" | "wartet auf einen Server" | "en attente d'un serveur" | "in attesa di un server";
    CANDIDATE = "code accepted, waiting for the server" | "Code angenommen, warte auf den Server"
        | "code accepté, en attente du serveur" | "codice accettato, in attesa del server";
    UNPAIRED = "not connected to a server" | "mit keinem Server verbunden" | "connecté à aucun serveur"
        | "non collegato a un server";
    UNKNOWN = "unknown" | "unbekannt" | "inconnu" | "sconosciuto";
    WORKLOAD = "Workload" | "Dienst" | "Service" | "Servizio";
    NO_WORKLOAD = "none" | "keiner" | "aucun" | "nessuno";
    STOPPED = "stopped" | "angehalten" | "arrêté" | "fermo";
    STARTING = "starting" | "startet" | "démarre" | "in avvio";
    RUNNING = "running" | "läuft" | "en marche" | "in funzione";
    UNHEALTHY = "running with problems" | "läuft mit Problemen" | "en marche, avec des problèmes" | "in funzione, con problemi";
    FAILED = "failed" | "ausgefallen" | "en panne" | "guasto";
    INSTALLING = "being installed" | "wird installiert" | "en cours d'installation" | "in installazione";
    VERSION = "Version" | "Version" | "Version" | "Versione";
    FINGERPRINT = "Fingerprint" | "Fingerabdruck" | "Empreinte" | "Impronta";
    LAST_ERROR = "Last error" | "Letzter Fehler" | "Erreur" | "Ultimo errore";
    CODE_HINT = "Enter this code on the server:" | "Diesen Code am Server eingeben:"
        | "Saisissez ce code sur le serveur :" | "Inserire questo codice sul server:";
    TIME_LEFT = "Valid for {} min, {} tries left" | "Gilt noch {} min, {} Versuche übrig"
        | "Valable {} min, {} essais restants" | "Valido per {} min, {} tentativi";
    JOIN_TRYING = "A join token is being tried at {}." | "Ein Beitrittsschlüssel wird bei {} versucht."
        | "Un jeton de jonction est essayé auprès de {}." | "Si prova un token di adesione presso {}.";
    JOIN_USED = "The join token was used by another satellite. Make a new one on the server."
        | "Den Beitrittsschlüssel hat ein anderer Satellit benutzt. Am Server einen neuen machen."
        | "Le jeton a servi à un autre satellite. Créez-en un nouveau sur le serveur."
        | "Il token è stato usato da un altro satellite. Crearne uno nuovo sul server.";
    JOIN_EXPIRED = "The time of the join token is over. Make a new one on the server."
        | "Die Zeit des Beitrittsschlüssels ist um. Am Server einen neuen machen."
        | "Le jeton de jonction est périmé. Créez-en un nouveau sur le serveur."
        | "Il token di adesione è scaduto. Crearne uno nuovo sul server.";
    JOIN_UNKNOWN = "The server does not take the join token. Make a new one on the server."
        | "Der Server nimmt den Beitrittsschlüssel nicht an. Am Server einen neuen machen."
        | "Le serveur n'accepte pas le jeton. Créez-en un nouveau sur le serveur."
        | "Il server non accetta il token. Crearne uno nuovo sul server.";
    DAEMON_DOWN = "The bridge does not answer. It is started again by itself; this menu works meanwhile."
        | "Die Bridge antwortet nicht. Sie startet von selbst neu; dieses Menü geht auch so."
        | "Le bridge ne répond pas. Il redémarre de lui-même ; ce menu marche quand même."
        | "Il bridge non risponde. Si riavvia da solo; questo menu funziona comunque.";
    DATA_FULL = "The data disk is full. Delete backups on the server, or give the machine a larger disk."
        | "Die Datenplatte ist voll. Am Server Sicherungen löschen, oder die Platte vergrößern."
        | "Le disque de données est plein. Supprimez des sauvegardes, ou agrandissez le disque."
        | "Il disco dati è pieno. Eliminare dei backup sul server, o ingrandire il disco.";
    DATA_READ_ONLY = "The data disk cannot be written: it has errors. Restart; if it stays, restore a backup."
        | "Die Datenplatte ist schreibgeschützt: sie hat Fehler. Neu starten; bleibt es so, Sicherung einspielen."
        | "Le disque de données est en lecture seule : erreurs. Redémarrez ; sinon restaurez une sauvegarde."
        | "Il disco dati è in sola lettura: ha errori. Riavviare; se resta così, ripristinare un backup.";
    DATA_UNREADABLE = "Data of the satellite is damaged. Restart; if it stays: Disconnect, or Factory reset."
        | "Daten des Satelliten sind beschädigt. Neu starten; bleibt es so: Trennen oder Werkszustand."
        | "Des données sont abîmées. Redémarrez ; si cela reste : Déconnecter, ou État d'usine."
        | "Dati del satellite danneggiati. Riavviare; se resta così: Scollegare, o Stato di fabbrica.";
    OPEN_CHANGE = "A change of network or firewall waits to be confirmed, else it is taken back."
        | "Eine Änderung an Netzwerk oder Firewall wartet auf Bestätigung, sonst wird sie zurückgenommen."
        | "Un changement du réseau ou du pare-feu attend d'être confirmé, sinon il est annulé."
        | "Una modifica di rete o firewall attende conferma, altrimenti viene annullata.";
    HOW_TO_CONNECT = "To connect this satellite: Enter, then \"Connect to a server\"."
        | "Um diesen Satelliten zu verbinden: Enter, dann \"Mit einem Server verbinden\"."
        | "Pour connecter ce satellite : Enter, puis \"Connecter à un serveur\"."
        | "Per collegare questo satellite: Enter, poi \"Collegare a un server\".";
}
