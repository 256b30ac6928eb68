//! Texts of what is lost, and of restarting.

super::texts! {
    DISCONNECT_WHAT = "The server can no longer reach this satellite, and its key for this satellite is forgotten here. If the server is reached now it is told; else it hears it at its next call."
        | "Der Server erreicht diesen Satelliten nicht mehr, und sein Schlüssel wird hier vergessen. Ist der Server jetzt erreichbar, wird er benachrichtigt, sonst erfährt er es beim nächsten Anruf."
        | "Le serveur ne pourra plus joindre ce satellite, et sa clé est oubliée ici. S'il est joignable il est averti ; sinon il l'apprend à son prochain appel."
        | "Il server non raggiunge più questo satellite, e la sua chiave viene dimenticata. Se il server è raggiungibile viene avvisato, altrimenti lo saprà alla prossima chiamata.";
    DISCONNECT_LOST = "Lost: the connection. Kept: network, firewall, services and their data. To connect again a new code is needed."
        | "Verloren: die Verbindung. Erhalten: Netzwerk, Firewall, Dienste und ihre Daten. Zum Verbinden braucht es einen neuen Code."
        | "Perdu : la connexion. Gardé : réseau, pare-feu, services et leurs données. Pour reconnecter il faut un nouveau code."
        | "Perso: il collegamento. Conservati: rete, firewall, servizi e i loro dati. Per ricollegare serve un nuovo codice.";
    NOT_PAIRED = "The satellite is not connected to a server." | "Der Satellit ist mit keinem Server verbunden."
        | "Le satellite n'est connecté à aucun serveur." | "Il satellite non è collegato a nessun server.";
    FACTORY_WHAT = "The satellite goes back to how it was delivered, and restarts. This cannot be taken back."
        | "Der Satellit wird wie bei der Auslieferung, und startet neu. Das lässt sich nicht rückgängig machen."
        | "Le satellite redevient comme à la livraison, et redémarre. C'est irréversible."
        | "Il satellite torna come alla consegna, e si riavvia. Non si può annullare.";
    FACTORY_LOST = "Lost: ALL BACKUPS STORED ON THIS SATELLITE, the connection to the server, its identity, all services, network settings, logs, and the console PIN."
        | "Verloren: ALLE SICHERUNGEN AUF DIESEM SATELLITEN, die Verbindung zum Server, seine Identität, alle Dienste, Netzwerkeinstellungen, Protokolle und die PIN der Konsole."
        | "Perdu : TOUTES LES SAUVEGARDES SUR CE SATELLITE, la connexion au serveur, son identité, tous les services, les réglages du réseau, les journaux et le code PIN."
        | "Persi: TUTTI I BACKUP SU QUESTO SATELLITE, il collegamento al server, la sua identità, tutti i servizi, le impostazioni di rete, i registri e il PIN della console.";
    FACTORY_DONE = "The satellite restarts now, and is erased while it starts."
        | "Der Satellit startet jetzt neu und wird dabei gelöscht."
        | "Le satellite redémarre maintenant, et est effacé au démarrage."
        | "Il satellite si riavvia ora, e viene cancellato all'avvio.";
    FIREWALL_WHAT = "All firewall rules go back to those of delivery, at once: only the server's port of the bridge is open. Lost: rules that were set for services. The server sets those it knows again."
        | "Alle Firewall-Regeln gehen sofort auf den Auslieferungsstand zurück: offen ist nur der Port der Bridge. Verloren: Regeln für Dienste. Der Server setzt jene, die er kennt, wieder."
        | "Toutes les règles reviennent à celles d'origine, tout de suite : seul le port du bridge est ouvert. Perdu : les règles des services. Le serveur remet celles qu'il connaît."
        | "Tutte le regole tornano subito a quelle di fabbrica: è aperta solo la porta del bridge. Perse: le regole dei servizi. Il server rimette quelle che conosce.";
    FIREWALL_DONE = "The rules of delivery are in force." | "Die Regeln der Auslieferung gelten."
        | "Les règles d'origine sont en vigueur." | "Le regole di fabbrica sono in vigore.";
    RESTORE_WHAT = "Settings of network and firewall go back to the last ones that were confirmed. A change that waits to be confirmed is taken back."
        | "Netzwerk und Firewall gehen auf die zuletzt bestätigten Einstellungen zurück. Eine unbestätigte Änderung wird zurückgenommen."
        | "Réseau et pare-feu reviennent aux derniers réglages confirmés. Un changement en attente est annulé."
        | "Rete e firewall tornano alle ultime impostazioni confermate. Una modifica in attesa viene annullata.";
    RESTORE_NOTHING = "No change is open, and the settings in force are the last good ones."
        | "Keine Änderung ist offen, und die geltenden Einstellungen sind die letzten guten."
        | "Aucun changement n'est ouvert, les réglages en vigueur sont les derniers bons."
        | "Nessuna modifica è aperta, le impostazioni in vigore sono le ultime valide.";
    RESTORE_TAKEN_BACK = "The open change was taken back." | "Die offene Änderung wurde zurückgenommen."
        | "Le changement ouvert a été annulé." | "La modifica aperta è stata annullata.";
    RESTORE_NETWORK_BEFORE = "No change is open. Go back to the network settings that were confirmed before the present ones?"
        | "Keine Änderung ist offen. Zurück zu den Netzwerkeinstellungen, die vor den jetzigen bestätigt waren?"
        | "Aucun changement n'est ouvert. Revenir aux réglages du réseau confirmés avant les présents ?"
        | "Nessuna modifica è aperta. Tornare alle impostazioni di rete confermate prima delle attuali?";
    REBOOT_ASK = "Restart the machine now?" | "Maschine jetzt neu starten?" | "Redémarrer la machine maintenant ?"
        | "Riavviare ora la macchina?";
    SHUT_DOWN_ASK = "Shut the machine down now? It must then be started at the hypervisor."
        | "Maschine jetzt herunterfahren? Danach muss sie am Hypervisor gestartet werden."
        | "Arrêter la machine maintenant ? Il faudra la démarrer depuis l'hyperviseur."
        | "Spegnere ora la macchina? Poi va avviata dall'hypervisor.";
    GOING_DOWN = "The machine goes down." | "Die Maschine fährt herunter." | "La machine s'arrête." | "La macchina si arresta.";
}
