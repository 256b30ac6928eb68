//! Texts of logs, support bundle, clock, language and PIN.

super::texts! {
    LOGS = "Logs" | "Protokolle" | "Journaux" | "Registri";
    FOOT_PAGER = "Arrows, PgUp, PgDn    /: search  n, N: next, last    F: follow    Q: back"
        | "Pfeile, Bild auf/ab    /: suchen  n, N: weiter, zurück    F: folgen    Q: Ende"
        | "Flèches, Pg    / : chercher  n, N : suivant, préc.    F : suivre    Q : retour"
        | "Frecce, Pag    /: cercare  n, N: succ., prec.    F: seguire    Q: indietro";
    SEARCH = "Search" | "Suche" | "Chercher" | "Cercare";
    NOT_FOUND = "`{}` is not found further on" | "`{}` kommt hier nicht mehr vor" | "`{}` n'est plus trouvé" | "`{}` non si trova oltre";
    FOLLOWING = "newest lines, new ones appear" | "neueste Zeilen, neue erscheinen" | "dernières lignes, suivies" | "ultime righe, seguite";
    NOT_FOLLOWING = "End: newest lines" | "Ende: neueste Zeilen" | "Fin : dernières lignes" | "Fine: ultime righe";
    LOG_EMPTY = "This log is empty." | "Dieses Protokoll ist leer." | "Ce journal est vide." | "Questo registro è vuoto.";
    LOG_BRIDGE = "The bridge" | "Die Bridge" | "Le bridge" | "Il bridge";
    LOG_KERNEL = "The kernel" | "Der Kernel" | "Le noyau" | "Il kernel";
    LOG_SYSTEM = "The whole system" | "Das ganze System" | "Tout le système" | "Tutto il sistema";

    SUPPORT_INTRO = "Logs, status and settings, without passwords and keys, are written as one file to a USB disk that you choose. What is on the disk stays."
        | "Protokolle, Status und Einstellungen, ohne Passwörter und Schlüssel, werden als eine Datei auf einen USB-Datenträger Ihrer Wahl geschrieben. Was darauf ist, bleibt."
        | "Journaux, état et réglages, sans mots de passe ni clés, sont écrits dans un fichier sur un disque USB de votre choix. Son contenu reste."
        | "Registri, stato e impostazioni, senza password né chiavi, vengono scritti in un file su un disco USB a scelta. Il suo contenuto resta.";
    SUPPORT_NO_DISK = "No USB disk is there. Plug one in (in a VM: pass it through at the hypervisor), wait a few seconds, and choose this entry again."
        | "Kein USB-Datenträger gefunden. Einen einstecken (in einer VM: am Hypervisor durchreichen), ein paar Sekunden warten und den Eintrag nochmals wählen."
        | "Aucun disque USB. Branchez-en un (dans une VM : depuis l'hyperviseur), attendez quelques secondes et recommencez."
        | "Nessun disco USB. Inserirne uno (in una VM: dall'hypervisor), attendere qualche secondo e riprovare.";
    SUPPORT_WRITING = "The support bundle is being written. Leave the disk plugged in."
        | "Das Supportpaket wird geschrieben. Datenträger stecken lassen."
        | "Le dossier est en cours d'écriture. Laissez le disque branché."
        | "Il pacchetto viene scritto. Lasciare il disco inserito.";
    SUPPORT_DONE = "Written: {} ({} KiB). The disk can be unplugged."
        | "Geschrieben: {} ({} KiB). Der Datenträger kann entfernt werden."
        | "Écrit : {} ({} KiB). Le disque peut être retiré."
        | "Scritto: {} ({} KiB). Il disco si può togliere.";

    CLOCK_NOW = "Time now: {}" | "Uhrzeit jetzt: {}" | "Heure actuelle : {}" | "Ora attuale: {}";
    CLOCK_SYNCED = "The clock follows a time server (NTP)." | "Die Uhr folgt einem Zeitserver (NTP)."
        | "L'horloge suit un serveur de temps (NTP)." | "L'orologio segue un server orario (NTP).";
    CLOCK_NOT_SYNCED = "The clock does not follow a time server. The server's address is set under Network."
        | "Die Uhr folgt keinem Zeitserver. Dessen Adresse steht unter Netzwerk."
        | "L'horloge ne suit aucun serveur de temps. Son adresse se règle sous Réseau."
        | "L'orologio non segue alcun server orario. L'indirizzo si imposta in Rete.";
    CLOCK_DATE = "Date (YYYY-MM-DD)" | "Datum (JJJJ-MM-TT)" | "Date (AAAA-MM-JJ)" | "Data (AAAA-MM-GG)";
    CLOCK_TIME = "Time (HH:MM), UTC" | "Uhrzeit (HH:MM), UTC" | "Heure (HH:MM), UTC" | "Ora (HH:MM), UTC";
    CLOCK_HINT = "A time server sets the clock again as soon as it is reached."
        | "Ein Zeitserver stellt die Uhr wieder, sobald er erreicht wird."
        | "Un serveur de temps règle l'horloge dès qu'il est joint."
        | "Un server orario regola l'orologio appena raggiunto.";
    CLOCK_WRONG_DATE = "This is no date, or one before this software was made. Example: 2026-11-30"
        | "Das ist kein Datum, oder eines vor dieser Software. Beispiel: 2026-11-30"
        | "Ce n'est pas une date, ou elle précède ce logiciel. Exemple : 2026-11-30"
        | "Non è una data, o precede questo software. Esempio: 2026-11-30";
    CLOCK_WRONG_TIME = "This is no time. Example: 14:30" | "Das ist keine Uhrzeit. Beispiel: 14:30"
        | "Ce n'est pas une heure. Exemple : 14:30" | "Non è un'ora. Esempio: 14:30";
    CLOCK_SET = "Set the clock" | "Uhr stellen" | "Régler l'horloge" | "Regolare l'orologio";

    KEYBOARD = "Keyboard" | "Tastatur" | "Clavier" | "Tastiera";
    LANGUAGE = "Language" | "Sprache" | "Langue" | "Lingua";
    LANGUAGE_HINT = "Left and Right change it." | "Links und Rechts ändern es." | "Gauche et Droite changent." | "Sinistra e Destra cambiano.";
    KEYBOARD_HINT = "Layout of the keyboard at the video console. A serial line has that of the other end."
        | "Belegung der Tastatur an der Videokonsole. Eine serielle Leitung hat die der Gegenseite."
        | "Disposition du clavier de la console vidéo. Une ligne série a celle de l'autre bout."
        | "Disposizione della tastiera della console video. Una linea seriale ha quella dell'altro capo.";
    KEYBOARD_FAILED = "The language is changed. The keyboard layout could not be loaded; it is tried again at the next start."
        | "Die Sprache ist geändert. Die Tastaturbelegung ließ sich nicht laden; sie wird beim nächsten Start wieder versucht."
        | "La langue est changée. La disposition du clavier n'a pas pu être chargée ; nouvel essai au prochain démarrage."
        | "La lingua è cambiata. La disposizione della tastiera non è stata caricata; si riprova al prossimo avvio.";

    PIN_ASK = "PIN of the console" | "PIN der Konsole" | "Code PIN de la console" | "PIN della console";
    PIN_FORGOTTEN = "Forgotten? Restart the satellite and press R when it begins to start. Factory reset on the rescue page loses everything on the satellite."
        | "Vergessen? Satellit neu starten und R drücken, wenn er zu starten beginnt. Die Werkseinstellungen auf der Rettungsseite löschen alles auf dem Satelliten."
        | "Oublié ? Redémarrez le satellite et appuyez sur R au début du démarrage. Les réglages d'usine de la page de secours effacent tout le satellite."
        | "Dimenticato? Riavviare il satellite e premere R all'inizio dell'avvio. Le impostazioni di fabbrica nella pagina di soccorso cancellano tutto.";
    PIN_WRONG = "This is not the PIN." | "Das ist nicht die PIN." | "Ce n'est pas le code PIN." | "Non è il PIN.";
    PIN_WAIT = "Too many wrong PINs. The next try is possible in {} s." | "Zu viele falsche PINs. Nächster Versuch in {} s."
        | "Trop de codes faux. Prochain essai dans {} s." | "Troppi PIN errati. Prossimo tentativo tra {} s.";
    PIN_DAMAGED = "The record of the PIN is damaged: no PIN can be right." | "Der Eintrag der PIN ist beschädigt: keine PIN kann stimmen."
        | "L'enregistrement du code PIN est abîmé : aucun code ne peut convenir." | "La registrazione del PIN è danneggiata: nessun PIN può andare bene.";
    PIN_INTRO = "With a PIN this menu opens only for who knows it. The status page stays visible. There is no way round a forgotten PIN but a factory reset from the rescue page."
        | "Mit einer PIN öffnet sich dieses Menü nur für Eingeweihte. Die Statusseite bleibt sichtbar. Gegen eine vergessene PIN hilft nur der Werkszustand von der Rettungsseite."
        | "Avec un code PIN ce menu ne s'ouvre qu'à qui le connaît. La page d'état reste visible. Un code oublié ne se contourne que par l'état d'usine de la page de secours."
        | "Con un PIN questo menu si apre solo a chi lo conosce. La pagina di stato resta visibile. Un PIN dimenticato si supera solo con lo stato di fabbrica dalla pagina di soccorso.";
    PIN_NEW = "New PIN (empty: none)" | "Neue PIN (leer: keine)" | "Nouveau code (vide : aucun)" | "Nuovo PIN (vuoto: nessuno)";
    PIN_AGAIN = "The same again" | "Nochmals dieselbe" | "Le même encore" | "Lo stesso ancora";
    PIN_HINT = "6 to 32 letters and digits." | "6 bis 32 Buchstaben und Ziffern." | "6 à 32 lettres et chiffres." | "Da 6 a 32 lettere e cifre.";
    PIN_SHORT = "The PIN has at least 6 letters or digits." | "Die PIN hat mindestens 6 Buchstaben oder Ziffern."
        | "Le code a au moins 6 lettres ou chiffres." | "Il PIN ha almeno 6 lettere o cifre.";
    PIN_DIFFERENT = "The two are not the same." | "Die beiden sind nicht gleich." | "Les deux ne sont pas les mêmes." | "I due non sono uguali.";
    PIN_SET = "From now on the menu asks for the PIN." | "Ab jetzt fragt das Menü nach der PIN." | "Désormais le menu demande le code PIN."
        | "D'ora in poi il menu chiede il PIN.";
    PIN_REMOVED = "The menu asks for no PIN." | "Das Menü fragt nach keiner PIN." | "Le menu ne demande aucun code PIN." | "Il menu non chiede alcun PIN.";
}
