//! Single files of an archive.

crate::language::texts! { pub(in crate::web),
    FILES = "Files of the archive" | "Dateien des Archivs" | "Fichiers de l'archive" | "File dell'archivio";
    SINGLE = "Find and restore single files" | "Einzelne Dateien finden und wiederherstellen" | "Trouver et restaurer des fichiers isolés" | "Trova e ripristina singoli file";
    FIND = "Words in the name" | "Wörter im Namen" | "Mots du nom" | "Parole nel nome";
    FIND_NOW = "Find files" | "Dateien suchen" | "Chercher des fichiers" | "Cerca file";
    NOTHING = "No file has all these words in its name." | "Keine Datei hat alle diese Wörter im Namen." | "Aucun fichier n'a tous ces mots dans son nom." | "Nessun file ha tutte queste parole nel nome.";
    SOME = "The first {} of {}. More words find fewer." | "Die ersten {} von {}. Mehr Wörter finden weniger." | "Les {} premiers sur {}. Plus de mots en trouvent moins." | "I primi {} di {}. Più parole ne trovano meno.";
    COUNT = "Found: {}" | "Gefunden: {}" | "Trouvés : {}" | "Trovati: {}";
    KIND = "What it is" | "Was es ist" | "Ce que c'est" | "Che cos'è";
    FILE = "file" | "Datei" | "fichier" | "file";
    DIRECTORY = "directory" | "Verzeichnis" | "répertoire" | "cartella";
    LINK = "link" | "Verweis" | "lien" | "collegamento";
    BRING_BACK = "Restore what is ticked" | "Angekreuztes wiederherstellen" | "Restaurer ce qui est coché" | "Ripristina ciò che è spuntato";
    BELOW_TOO = "A directory comes with all that is below it." | "Ein Verzeichnis kommt mit allem, was darunter liegt." | "Un répertoire revient avec tout ce qu'il contient." | "Una cartella torna con tutto ciò che contiene.";
    NONE_TICKED = "Tick at least one file." | "Kreuzen Sie mindestens eine Datei an." | "Cochez au moins un fichier." | "Spunti almeno un file.";
}
