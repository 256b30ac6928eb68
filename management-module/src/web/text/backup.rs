//! Archives, restores, centrals.

crate::language::texts! { pub(in crate::web),
    BACK_UP_NOW = "Back up now" | "Jetzt sichern" | "Sauvegarder maintenant" | "Esegui il backup ora";
    CENTRAL = "Central" | "Anlage" | "Central" | "Centrale";
    COUNT_AND_SIZE = "{} archives, {} in all" | "{} Archive, zusammen {}" | "{} archives, {} au total" | "{} archivi, {} in tutto";
    MORE_PROBLEMS = "{} more satellites do not answer" | "{} weitere Satelliten antworten nicht" | "{} autres satellites ne répondent pas" | "Altri {} satelliti non rispondono";
    MASTER = "Master" | "Hauptanlage" | "Principal" | "Principale";
    NO_ARCHIVES = "There are no archives yet." | "Es gibt noch keine Archive." | "Il n'y a pas encore d'archives." | "Non ci sono ancora archivi.";
    FILE_NAME = "File name" | "Dateiname" | "Nom du fichier" | "Nome del file";
    DATE = "Date" | "Datum" | "Date" | "Data";
    FROM = "Address of the central" | "Adresse der Anlage" | "Adresse du central" | "Indirizzo della centrale";
    TENANT = "Tenant" | "Mandant" | "Locataire" | "Tenant";
    CONFIGURATION = "Configuration" | "Konfiguration" | "Configuration" | "Configurazione";
    SATELLITE = "Satellite" | "Satellit" | "Satellite" | "Satellite";
    PATH = "Path" | "Pfad" | "Chemin" | "Percorso";
    CHECKED = "Last checked" | "Zuletzt geprüft" | "Vérifiée le" | "Ultima verifica";
    CHECK_NOW = "Check every digest" | "Alle Prüfsummen prüfen" | "Vérifier toutes les empreintes" | "Verifica tutte le impronte";
    LEFT_OUT = "Left out, could not be read" | "Ausgelassen, war nicht lesbar" | "Omis, illisible" | "Omesso, illeggibile";
    DATA_SETS = "Data sets" | "Datenbestände" | "Jeux de données" | "Insiemi di dati";
    ITEMS = "Items" | "Einträge" | "Éléments" | "Elementi";
    RESTORE = "Restore" | "Wiederherstellen" | "Restaurer" | "Ripristina";
    RESTORE_WHAT = "Brings the chosen data back to the moment of the backup." | "Bringt die gewählten Daten auf den Stand der Sicherung zurück." | "Ramène les données choisies au moment de la sauvegarde." | "Riporta i dati scelti al momento del backup.";
    WHERE = "Where to" | "Wohin" | "Vers où" | "Dove";
    IN_PLACE = "Onto the central, where the data came from" | "Auf die Anlage, woher die Daten kamen" | "Sur le central d'où viennent les données" | "Sulla centrale da cui provengono i dati";
    ONLY_TRY = "Nowhere for good: try whether everything can be restored" | "Nirgends auf Dauer: prüfen, ob sich alles wiederherstellen lässt" | "Nulle part durablement : vérifier que tout peut être restauré" | "Da nessuna parte in modo stabile: prova se tutto è ripristinabile";
    ONTO = "Onto the central" | "Auf die Anlage" | "Sur le central" | "Sulla centrale";
    SAFETY = "Back up first what would be overwritten" | "Vorher sichern, was überschrieben würde" | "Sauvegarder d'abord ce qui serait écrasé" | "Prima salva ciò che verrebbe sovrascritto";
    NO_RESTORES = "Nothing was restored yet." | "Es wurde noch nichts wiederhergestellt." | "Rien n'a encore été restauré." | "Non è ancora stato ripristinato nulla.";
    ERROR = "Error" | "Fehler" | "Erreur" | "Errore";
    IN_DIRECTORY = "Into a directory of this server, to try it" | "In ein Verzeichnis dieses Servers, um es zu prüfen" | "Dans un répertoire de ce serveur, pour essayer" | "In una cartella di questo server, per prova";
    DIRECTORY = "Directory" | "Verzeichnis" | "Répertoire" | "Cartella";
    DIRECTORY_HINT = "An absolute path such as /srv/try" | "Ein absoluter Pfad wie /srv/probe" | "Un chemin absolu tel que /srv/essai" | "Un percorso assoluto come /srv/prova";
    OVERWRITE = "Also overwrite what is there" | "Auch überschreiben, was da ist" | "Écraser aussi ce qui existe" | "Sovrascrivi anche ciò che c'è";
    NO_DATA_SET = "Choose at least one data set." | "Wählen Sie mindestens einen Datenbestand." | "Choisissez au moins un jeu de données." | "Scelga almeno un insieme di dati.";
    DELETE = "Delete the archive" | "Archiv löschen" | "Supprimer l'archive" | "Elimina l'archivio";
    DELETE_WHAT = "The file is removed from the satellite. It cannot be brought back." | "Die Datei wird vom Satelliten entfernt. Sie lässt sich nicht zurückholen." | "Le fichier est supprimé du satellite. Il ne peut pas être récupéré." | "Il file viene rimosso dal satellite. Non può essere recuperato.";
    NEW_CENTRAL = "New central" | "Neue Anlage" | "Nouveau central" | "Nuova centrale";
    NO_CENTRALS = "There are no centrals yet." | "Es gibt noch keine Anlagen." | "Il n'y a pas encore de centraux." | "Non ci sono ancora centrali.";
    FIRST_CENTRAL = "The first central is the master: the one this server belongs to." | "Die erste Anlage ist die Hauptanlage: die, zu der dieser Server gehört." | "Le premier central est le maître : celui auquel appartient ce serveur." | "La prima centrale è la principale: quella a cui appartiene questo server.";
    PROFILE = "Profile" | "Profil" | "Profil" | "Profilo";
    PROFILE_HINT = "What its data is, as TOML; docs/central-profile.md describes every key." | "Was ihre Daten sind, als TOML; docs/central-profile.md beschreibt jeden Schlüssel." | "Ce que sont ses données, en TOML ; docs/central-profile.md décrit chaque clé." | "Quali sono i suoi dati, in TOML; docs/central-profile.md descrive ogni chiave.";
    REPLACE = "Change it if it is known already" | "Ändern, falls sie schon bekannt ist" | "La modifier si elle est déjà connue" | "Modificala se è già nota";
    KNOWN_SINCE = "Known since" | "Bekannt seit" | "Connu depuis" | "Noto dal";
    REMOVE_CENTRAL = "Remove the central" | "Anlage entfernen" | "Supprimer le central" | "Rimuovi la centrale";
    REMOVE_CENTRAL_WHAT = "Its archives stay where they are." | "Ihre Archive bleiben, wo sie sind." | "Ses archives restent où elles sont." | "I suoi archivi restano dove sono.";
}
