//! Texts of the rescue page, which a machine shows before its service manager and its menu.

super::texts! {
    NAME = "rescue" | "Rettung" | "secours" | "soccorso";
    TITLE = "SATELLITE: RESCUE" | "SATELLIT: RETTUNG" | "SATELLITE : SECOURS" | "SATELLITE: SOCCORSO";
    NOT_STARTED = "This satellite has not started." | "Dieser Satellit ist nicht gestartet."
        | "Ce satellite n'a pas démarré." | "Questo satellite non si è avviato.";
    WHAT_HAPPENED = "What happened:" | "Was geschehen ist:" | "Ce qui s'est passé :" | "Che cosa è successo:";
    ASKED = "The rescue page was asked for. Nothing was found to be wrong."
        | "Die Rettungsseite wurde verlangt. Es wurde kein Fehler gefunden."
        | "La page de secours a été demandée. Aucun défaut n'a été trouvé."
        | "La pagina di soccorso è stata richiesta. Non è stato trovato alcun guasto.";
    TABLE = "The disk's partitions cannot be used." | "Die Partitionen der Platte sind nicht brauchbar."
        | "Les partitions du disque sont inutilisables." | "Le partizioni del disco non si possono usare.";
    DAMAGED = "The data partition is damaged." | "Die Datenpartition ist beschädigt."
        | "La partition de données est endommagée." | "La partizione dei dati è danneggiata.";
    NOT_MOUNTED = "The data partition cannot be opened." | "Die Datenpartition lässt sich nicht öffnen."
        | "La partition de données ne s'ouvre pas." | "La partizione dei dati non si apre.";
    NOT_ERASED = "The data partition could not be erased." | "Die Datenpartition ließ sich nicht löschen."
        | "La partition de données n'a pas pu être effacée." | "La partizione dei dati non si è potuta cancellare.";
    RESTART = "Restart" | "Neu starten" | "Redémarrer" | "Riavviare";
    REPAIR = "Repair the data partition" | "Datenpartition reparieren" | "Réparer la partition de données"
        | "Riparare la partizione dei dati";
    RESET = "Factory reset: erase everything" | "Werkseinstellungen: alles löschen"
        | "Réglages d'usine : tout effacer" | "Impostazioni di fabbrica: cancellare tutto";
    POWER_OFF = "Shut down" | "Ausschalten" | "Éteindre" | "Spegnere";
    LANGUAGE = "Deutsch, Français, Italiano" | "Français, Italiano, English" | "Italiano, English, Deutsch"
        | "English, Deutsch, Français";
    CHOOSE = "Type a number or L, and press Enter:" | "Eine Zahl oder L eingeben und Enter drücken:"
        | "Tapez un chiffre ou L, puis Enter :" | "Scrivere un numero o L e premere Enter:";
    REPAIR_TITLE = "REPAIR" | "REPARATUR" | "RÉPARATION" | "RIPARAZIONE";
    REPAIR_WHAT = "The data partition is checked and corrected. What cannot be corrected is lost. If the disk can be copied, copy it first."
        | "Die Datenpartition wird geprüft und korrigiert. Was sich nicht korrigieren lässt, ist verloren. Wenn sich die Platte kopieren lässt, zuerst kopieren."
        | "La partition de données est vérifiée et corrigée. Ce qui ne peut pas l'être est perdu. Si le disque peut être copié, copiez-le d'abord."
        | "La partizione dei dati viene controllata e corretta. Ciò che non si può correggere è perso. Se il disco si può copiare, copiarlo prima.";
    RESET_TITLE = "FACTORY RESET" | "WERKSEINSTELLUNGEN" | "RÉGLAGES D'USINE" | "IMPOSTAZIONI DI FABBRICA";
    RESET_WHAT = "Everything on this satellite is erased: its identity, its network settings, its programs and all backups that it keeps. It must be connected to its server again."
        | "Alles auf diesem Satelliten wird gelöscht: seine Identität, seine Netzwerkeinstellungen, seine Programme und alle Sicherungen, die er aufbewahrt. Er muss wieder mit seinem Server verbunden werden."
        | "Tout est effacé sur ce satellite : son identité, ses réglages du réseau, ses programmes et toutes les sauvegardes qu'il garde. Il faudra le reconnecter à son serveur."
        | "Tutto su questo satellite viene cancellato: la sua identità, le impostazioni di rete, i programmi e tutti i backup che conserva. Andrà ricollegato al suo server.";
    TYPE_WORD = "Type {} and press Enter, or only Enter to go back:"
        | "{} eingeben und Enter drücken, oder nur Enter für zurück:"
        | "Tapez {} puis Enter, ou seulement Enter pour revenir :"
        | "Scrivere {} e premere Enter, o solo Enter per tornare indietro:";
    WORKING = "Working. Do not switch the machine off." | "In Arbeit. Die Maschine nicht ausschalten."
        | "En cours. N'éteignez pas la machine." | "In corso. Non spegnere la macchina.";
}
