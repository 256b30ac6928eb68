//! Texts of lists, questions, forms and of the main menu.

super::texts! {
    FOOT_LIST = "Arrows: move    Enter: take    Esc: back" | "Pfeile: bewegen    Enter: wählen    Esc: zurück"
        | "Flèches : bouger    Enter : choisir    Esc : retour" | "Frecce: muovere    Enter: scegliere    Esc: indietro";
    FOOT_WORD = "Enter: go on    Esc: back, nothing is changed" | "Enter: weiter    Esc: zurück, nichts wird geändert"
        | "Enter : continuer    Esc : retour, rien ne change" | "Enter: continuare    Esc: indietro, nulla cambia";
    FOOT_FORM = "Arrows: move, change    Del: empty the field    Enter: next    Esc: back"
        | "Pfeile: bewegen, ändern    Entf: Feld leeren    Enter: weiter    Esc: zurück"
        | "Flèches : bouger, changer    Suppr : vider    Enter : suivant    Esc : retour"
        | "Frecce: muovere, cambiare    Canc: vuotare    Enter: avanti    Esc: indietro";
    FOOT_ANY_KEY = "Press any key" | "Taste drücken" | "Appuyez sur une touche" | "Premere un tasto";
    TYPE_WORD = "To go on, type {} and press Enter:" | "Zum Fortfahren {} eingeben und Enter drücken:"
        | "Pour continuer, tapez {} puis Enter :" | "Per continuare, scrivere {} e premere Enter:";
    FAILED = "That failed:" | "Das ist fehlgeschlagen:" | "Échec :" | "Operazione non riuscita:";
    DONE = "Done." | "Erledigt." | "Terminé." | "Fatto.";
    NOT_CHANGED = "Nothing was changed." | "Es wurde nichts geändert." | "Rien n'a été modifié." | "Nulla è stato modificato.";
    NOT_STORED = "It holds until the next start only: the data disk cannot be written."
        | "Es gilt nur bis zum nächsten Start: die Datenplatte ist nicht beschreibbar."
        | "Valable jusqu'au prochain démarrage : le disque de données n'est pas inscriptible."
        | "Vale solo fino al prossimo avvio: il disco dati non è scrivibile.";
    WAIT = "One moment." | "Einen Moment." | "Un instant." | "Un momento.";
    YES = "Yes" | "Ja" | "Oui" | "Sì";
    NO = "No" | "Nein" | "Non" | "No";
    ACCEPT = "Accept" | "Übernehmen" | "Valider" | "Applicare";

    MENU = "Menu" | "Menü" | "Menu" | "Menu";
    CONNECT = "Connect to a server" | "Mit einem Server verbinden" | "Connecter à un serveur" | "Collegare a un server";
    NETWORK = "Network" | "Netzwerk" | "Réseau" | "Rete";
    CHECK = "Test the connection" | "Verbindung prüfen" | "Tester la connexion" | "Provare la connessione";
    LOGS = "Logs" | "Protokolle" | "Journaux" | "Registri";
    SUPPORT = "Support bundle to a USB disk" | "Supportpaket auf USB-Datenträger" | "Dossier d'assistance sur disque USB"
        | "Pacchetto di assistenza su disco USB";
    CLOCK = "Date and time" | "Datum und Uhrzeit" | "Date et heure" | "Data e ora";
    LANGUAGE = "Language and keyboard" | "Sprache und Tastatur" | "Langue et clavier" | "Lingua e tastiera";
    PIN = "Console PIN" | "PIN der Konsole" | "Code PIN de la console" | "PIN della console";
    RESTORE = "Restore last good settings" | "Letzte gute Einstellungen zurückholen" | "Rétablir les derniers bons réglages"
        | "Ripristinare le ultime impostazioni valide";
    FIREWALL = "Reset the firewall" | "Firewall zurücksetzen" | "Réinitialiser le pare-feu" | "Ripristinare il firewall";
    DISCONNECT = "Disconnect from the server" | "Vom Server trennen" | "Déconnecter du serveur" | "Scollegare dal server";
    FACTORY = "Factory reset" | "Werkszustand" | "État d'usine" | "Stato di fabbrica";
    REBOOT = "Restart" | "Neu starten" | "Redémarrer" | "Riavviare";
    SHUT_DOWN = "Shut down" | "Herunterfahren" | "Arrêter" | "Spegnere";

    SHOW_CODE = "Show a code to enter on the server" | "Code zur Eingabe am Server zeigen" | "Afficher un code à saisir sur le serveur"
        | "Mostrare un codice da inserire sul server";
    CLOSE_CODE = "Make the code invalid" | "Code ungültig machen" | "Annuler le code" | "Annullare il codice";
    ENTER_TOKEN = "Enter a join token" | "Beitrittsschlüssel eingeben" | "Saisir un jeton de jonction" | "Inserire un token di adesione";
    TOKEN = "Join token" | "Beitrittsschlüssel" | "Jeton de jonction" | "Token di adesione";
    TOKEN_HINT = "As the server printed it: it names the server and works once."
        | "Wie ihn der Server ausgegeben hat: er nennt den Server und gilt einmal."
        | "Tel que le serveur l'a affiché : il nomme le serveur et sert une fois."
        | "Come stampato dal server: indica il server e vale una volta.";
    TOKEN_WRONG = "This is not a whole join token: check what was typed." | "Das ist kein ganzer Beitrittsschlüssel: Eingabe prüfen."
        | "Ce jeton n'est pas complet : vérifiez la saisie." | "Il token non è completo: controllare.";
    JOINING = "The satellite connects to the server named in the token."
        | "Der Satellit verbindet sich mit dem Server aus dem Schlüssel."
        | "Le satellite se connecte au serveur nommé dans le jeton."
        | "Il satellite si collega al server indicato nel token.";
    ALREADY_PAIRED = "The satellite is paired already. To give it to another server, disconnect it first."
        | "Der Satellit ist schon verbunden. Für einen anderen Server zuerst trennen."
        | "Le satellite est déjà connecté. Pour un autre serveur, déconnectez-le d'abord."
        | "Il satellite è già collegato. Per un altro server, prima scollegarlo.";
    NEEDS_DAEMON = "This needs the bridge, which does not answer now. It is started again by itself: wait a minute. If it stays so, read the log of the bridge under Logs."
        | "Dazu braucht es die Bridge, die gerade nicht antwortet. Sie startet von selbst neu: eine Minute warten. Bleibt es so, das Protokoll der Bridge unter Protokolle lesen."
        | "Il faut le bridge, qui ne répond pas. Il redémarre de lui-même : attendez une minute. Si cela reste, lisez son journal sous Journaux."
        | "Serve il bridge, che ora non risponde. Si riavvia da solo: attendere un minuto. Se resta così, leggere il suo registro in Registri.";
}
