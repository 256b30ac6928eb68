//! What all parts of the page say.

crate::language::texts! { pub(in crate::web),
    OVERVIEW = "Overview" | "Übersicht" | "Vue d'ensemble" | "Panoramica";
    SATELLITES = "Satellites" | "Satelliten" | "Satellites" | "Satelliti";
    BUNDLES = "Software" | "Software" | "Logiciels" | "Software";
    BACKUPS = "Backups" | "Sicherungen" | "Sauvegardes" | "Backup";
    RESTORES = "Restores" | "Wiederherstellungen" | "Restaurations" | "Ripristini";
    ARCHIVES = "Archives" | "Archive" | "Archives" | "Archivi";
    CENTRALS = "Centrals" | "Anlagen" | "Centraux" | "Centrali";
    USERS = "Users" | "Benutzer" | "Utilisateurs" | "Utenti";
    AUDIT = "Audit log" | "Protokoll" | "Journal d'audit" | "Registro";
    ACCOUNT = "My account" | "Mein Konto" | "Mon compte" | "Il mio account";
    NAVIGATION = "Main navigation" | "Hauptnavigation" | "Navigation principale" | "Navigazione principale";
    LANGUAGE = "Language" | "Sprache" | "Langue" | "Lingua";
    SKIP = "Skip to the content" | "Zum Inhalt springen" | "Aller au contenu" | "Vai al contenuto";
    SIGN_OUT = "Sign out" | "Abmelden" | "Se déconnecter" | "Esci";
    TO_OVERVIEW = "To the overview" | "Zur Übersicht" | "Vers la vue d'ensemble" | "Alla panoramica";
    BACK = "Back" | "Zurück" | "Retour" | "Indietro";
    CANCEL = "Cancel" | "Abbrechen" | "Annuler" | "Annulla";
    SAVE = "Save" | "Speichern" | "Enregistrer" | "Salva";
    DOWNLOAD = "Download" | "Herunterladen" | "Télécharger" | "Scarica";
    FIND = "Find in the list" | "In der Liste suchen" | "Chercher dans la liste" | "Cercare nell'elenco";
    FIND_NOW = "Find" | "Suchen" | "Chercher" | "Cerca";
    SHOW_ALL = "Show all" | "Alle zeigen" | "Tout afficher" | "Mostrare tutto";
    NOTHING_FOUND = "Nothing in the list has “{}”." | "Nichts in der Liste enthält «{}»." | "Rien dans la liste ne contient « {} »." | "Niente nell'elenco contiene «{}».";
    PAGES = "Pages of the list" | "Seiten der Liste" | "Pages de la liste" | "Pagine dell'elenco";
    PAGE_BEFORE = "Page before" | "Vorige Seite" | "Page précédente" | "Pagina precedente";
    PAGE_AFTER = "Next page" | "Nächste Seite" | "Page suivante" | "Pagina successiva";
    FROM_TO_OF = "{} to {} of {}" | "{} bis {} von {}" | "{} à {} sur {}" | "Da {} a {} di {}";
    NAME = "Name" | "Name" | "Nom" | "Nome";
    STATE = "State" | "Zustand" | "État" | "Stato";
    SIZE = "Size" | "Grösse" | "Taille" | "Dimensione";
    TIME = "Time" | "Zeit" | "Heure" | "Ora";
    UNTIL = "Until" | "Bis" | "Jusqu'au" | "Fino al";
    WHO = "Who" | "Wer" | "Qui" | "Chi";
    NAMED = "{}: {}" | "{}: {}" | "{} : {}" | "{}: {}";
    ACTION = "Action" | "Aktion" | "Action" | "Azione";
    SUBJECT = "Subject" | "Gegenstand" | "Objet" | "Oggetto";
    RESULT = "Result" | "Ergebnis" | "Résultat" | "Risultato";
    PROGRESS = "Progress" | "Fortschritt" | "Progression" | "Avanzamento";
    OK = "done" | "erledigt" | "fait" | "fatto";
    ON = "on" | "ein" | "activé" | "attivo";
    OFF = "off" | "aus" | "désactivé" | "disattivato";
    NEVER = "never" | "nie" | "jamais" | "mai";
    UNKNOWN = "unknown" | "unbekannt" | "inconnu" | "sconosciuto";
    FAILED = "failed" | "fehlgeschlagen" | "échoué" | "non riuscito";
    PARTLY = "partly" | "teilweise" | "partiel" | "parziale";
    SUCCEEDED = "succeeded" | "gelungen" | "réussi" | "riuscito";
    UNDER_WAY = "under way" | "läuft" | "en cours" | "in corso";
    NEWEST = "The newest {} records." | "Die neusten {} Einträge." | "Les {} entrées les plus récentes." | "Le {} voci più recenti.";
    GOES_ON = "This goes on when you leave the page." | "Das geht weiter, wenn Sie die Seite verlassen." | "Le travail continue si vous quittez la page." | "Il lavoro continua se lascia la pagina.";
    LAST_LINES = "Last lines of the log" | "Letzte Zeilen des Logs" | "Dernières lignes du journal" | "Ultime righe del log";
    TYPE_WORD = "To confirm, type: {}" | "Zur Bestätigung eintippen: {}" | "Pour confirmer, tapez : {}" | "Per confermare, digiti: {}";
    WRONG_WORD = "That is not the word." | "Das ist nicht das Wort." | "Ce n'est pas le mot." | "Non è la parola giusta.";
    JOB_START = "Start" | "Starten" | "Démarrage" | "Avvio";
    JOB_STOP = "Stop" | "Anhalten" | "Arrêt" | "Arresto";
    JOB_RESTART = "Restart" | "Neustart" | "Redémarrage" | "Riavvio";
    JOB_PUSH = "Update" | "Aktualisierung" | "Mise à jour" | "Aggiornamento";
    JOB_BACKUP = "Backup" | "Sicherung" | "Sauvegarde" | "Backup in corso";
    JOB_RESTORE = "Restore" | "Wiederherstellung" | "Restauration" | "Ripristino";
    JOB_FIREWALL = "Change of the firewall" | "Änderung der Firewall" | "Modification du pare-feu" | "Modifica del firewall";
    JOB_NETWORK = "Change of the network" | "Änderung des Netzwerks" | "Modification du réseau" | "Modifica della rete";
    JOB_VERIFY = "Check of an archive" | "Prüfung eines Archivs" | "Vérification d'une archive" | "Verifica di un archivio";
    JOB_OTHER = "Work" | "Arbeit" | "Travail" | "Lavoro";
    NO_PAGE = "There is no such page." | "Diese Seite gibt es nicht." | "Cette page n'existe pas." | "Questa pagina non esiste.";
    SIGN_IN_FIRST = "Please sign in first." | "Bitte melden Sie sich zuerst an." | "Veuillez d'abord vous connecter." | "Prima acceda, per favore.";
    FORBIDDEN_WHO = "Nothing was changed. An administrator can give you another role." | "Es wurde nichts geändert. Eine andere Rolle vergibt eine Administratorin oder ein Administrator." | "Rien n'a été modifié. Un administrateur peut vous donner un autre rôle." | "Nulla è stato modificato. Un amministratore può assegnarle un altro ruolo.";
    FORBIDDEN = "Your role does not allow this." | "Ihre Rolle erlaubt das nicht." | "Votre rôle ne le permet pas." | "Il suo ruolo non lo consente.";
    FORGED = "This form is too old or was not sent by this page. Go back, load the page anew and try again." | "Dieses Formular ist zu alt oder wurde nicht von dieser Seite gesendet. Gehen Sie zurück, laden Sie die Seite neu und versuchen Sie es noch einmal." | "Ce formulaire est trop ancien ou n'a pas été envoyé par cette page. Revenez en arrière, rechargez la page et réessayez." | "Questo modulo è troppo vecchio o non è stato inviato da questa pagina. Torni indietro, ricarichi la pagina e riprovi.";
    TOO_LARGE = "More was sent than is taken, or it came too slowly." | "Es wurde mehr gesendet, als angenommen wird, oder es kam zu langsam." | "L'envoi était trop volumineux ou trop lent." | "È stato inviato troppo, o troppo lentamente.";
    BUSY = "Too many pages are open. Close some and try again." | "Zu viele Seiten sind offen. Schliessen Sie einige und versuchen Sie es noch einmal." | "Trop de pages sont ouvertes. Fermez-en et réessayez." | "Troppe pagine sono aperte. Ne chiuda qualcuna e riprovi.";
    NOT_THERE = "That is not there." | "Das gibt es nicht." | "Cela n'existe pas." | "Non esiste.";
    INVALID = "Something in it is not right." | "Etwas darin stimmt nicht." | "Quelque chose n'est pas correct." | "Qualcosa non è corretto.";
    EXISTS = "There is one like that already." | "So etwas gibt es schon." | "Il en existe déjà un." | "Ne esiste già uno.";
    PRECONDITION = "Something else has to be done first." | "Zuerst muss etwas anderes getan werden." | "Il faut d'abord faire autre chose." | "Prima bisogna fare altro.";
    REFUSED_HERE = "That was refused." | "Das wurde abgelehnt." | "Cela a été refusé." | "È stato rifiutato.";
    UNAVAILABLE = "There is no answer at the moment. Try again later." | "Im Moment kommt keine Antwort. Versuchen Sie es später noch einmal." | "Pas de réponse pour le moment. Réessayez plus tard." | "Al momento non c'è risposta. Riprovi più tardi.";
    BROKEN = "Something went wrong on the server. Its log says what." | "Auf dem Server ging etwas schief. Sein Log sagt, was." | "Une erreur s'est produite sur le serveur. Son journal dit laquelle." | "Qualcosa è andato storto sul server. Il suo log dice che cosa.";
    SAID_SAVED = "It is saved." | "Es ist gespeichert." | "C'est enregistré." | "È salvato.";
    SAID_REMOVED = "It is removed." | "Es ist entfernt." | "C'est supprimé." | "È rimosso.";
    SAID_PASSWORD = "The password is changed. Other sessions have ended." | "Das Passwort ist geändert. Andere Sitzungen sind beendet." | "Le mot de passe est modifié. Les autres sessions sont terminées." | "La password è cambiata. Le altre sessioni sono terminate.";
    SAID_FACTOR_ON = "The second factor is on." | "Der zweite Faktor ist eingeschaltet." | "Le second facteur est activé." | "Il secondo fattore è attivo.";
    SAID_FACTOR_OFF = "The second factor is off." | "Der zweite Faktor ist ausgeschaltet." | "Le second facteur est désactivé." | "Il secondo fattore è disattivato.";
    SAID_PAIRED = "The satellite is paired. It is being set up now." | "Der Satellit ist verbunden. Er wird jetzt eingerichtet." | "Le satellite est connecté. Il est en cours d'installation." | "Il satellite è collegato. Ora viene configurato.";
    SAID_FORGOTTEN = "The satellite is forgotten, and it knows." | "Der Satellit ist vergessen, und er weiss es." | "Le satellite est oublié, et il le sait." | "Il satellite è dimenticato, e lo sa.";
    SAID_FORGOTTEN_HERE = "The satellite is forgotten here. It could not be told: disconnect it at its console." | "Der Satellit ist hier vergessen. Er war nicht erreichbar: trennen Sie ihn an seiner Konsole." | "Le satellite est oublié ici. Il n'a pas pu être averti : déconnectez-le sur sa console." | "Il satellite è dimenticato qui. Non è stato possibile avvisarlo: lo scolleghi dalla sua console.";
    SAID_REBOOTING = "The satellite restarts." | "Der Satellit startet neu." | "Le satellite redémarre." | "Il satellite si riavvia.";
    SAID_TRUSTED = "The satellite is trusted." | "Dem Satelliten wird vertraut." | "Le satellite est approuvé." | "Il satellite è considerato attendibile.";
    SAID_REVOKED = "The token is useless now." | "Das Token ist jetzt nutzlos." | "Le jeton est désormais inutilisable." | "Il token ora è inutilizzabile.";
    SAID_BUNDLE = "The bundle is there." | "Das Paket ist da." | "Le paquet est arrivé." | "Il pacchetto è arrivato.";
}

/// What the address of a page may say that was just done.
pub(in crate::web) const DONE: [(&str, super::Text); 16] = [
    ("saved", SAID_SAVED),
    ("user-added", SAID_SAVED),
    ("user-changed", SAID_SAVED),
    ("user-removed", SAID_REMOVED),
    ("removed", SAID_REMOVED),
    ("deleted", SAID_REMOVED),
    ("password", SAID_PASSWORD),
    ("factor-on", SAID_FACTOR_ON),
    ("factor-off", SAID_FACTOR_OFF),
    ("paired", SAID_PAIRED),
    ("forgotten", SAID_FORGOTTEN),
    ("forgotten-here", SAID_FORGOTTEN_HERE),
    ("rebooting", SAID_REBOOTING),
    ("trusted", SAID_TRUSTED),
    ("revoked", SAID_REVOKED),
    ("bundle-added", SAID_BUNDLE),
];
