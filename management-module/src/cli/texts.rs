//! What tables and messages say, in four languages. JSON, logs, help and manual pages are English.
//!
//! **Invariant:** a text has all languages; what programs read is never translated.

use std::sync::OnceLock;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use satellite_proto::wire::bridge::v1::WorkloadState;
use satellite_proto::wire::management::v1::Reachability;
use serde::{Serialize, Serializer};

use crate::language::{Language, texts};

pub(super) use crate::language::Text;

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; what was tried and why is on stderr
  2  the command line or a document is wrong
  3  the module or the satellite cannot be reached
  4  done in part; what was not is on stderr";

/// What stands where there is nothing to say.
pub(super) const NONE: &str = "-";

static CHOSEN: OnceLock<Language> = OnceLock::new();

/// The language of what programs say: English where a program reads.
static TOLD_IN: OnceLock<Language> = OnceLock::new();

impl Language {
    /// The language that the environment asks for, as `setlocale` finds it; English if it is none of ours.
    pub(super) fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .into_iter()
            .filter_map(variable)
            .find(|value| !value.is_empty());
        let language = locale.unwrap_or_default();
        let code = language.split(['_', '.', '@']).next().unwrap_or_default();
        <Self as ValueEnum>::from_str(code, false).unwrap_or_default()
    }

    /// The language that was chosen.
    pub(super) fn chosen() -> Self {
        CHOSEN.get().copied().unwrap_or(Self::En)
    }

    /// The language of what programs say.
    pub(super) fn told_in() -> Self {
        TOLD_IN.get().copied().unwrap_or_default()
    }

    /// From now on texts are in this language, and what programs say too if a person reads it. Only the first choice counts.
    pub(super) fn choose(self, person_reads: bool) {
        let _chosen_before = CHOSEN.set(self);
        let _chosen_before = TOLD_IN.set(if person_reads { self } else { Self::En });
    }
}

/// What a program said, in the language that was chosen.
pub(super) fn told(message: &str) -> String {
    Language::told_in().tell(message).to_string()
}

impl ValueEnum for Language {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let name = ["English", "German", "French", "Italian"][*self as usize];
        Some(PossibleValue::new(self.code()).help(name))
    }
}

impl Text {
    /// In the language that was chosen.
    pub(super) fn say(self) -> &'static str {
        Language::chosen().say(self)
    }

    /// For programs.
    pub(super) fn english(self) -> &'static str {
        Language::En.say(self)
    }
}

/// As JSON a text is English.
impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.english())
    }
}

pub(super) fn reachability(value: Reachability) -> Text {
    match value {
        Reachability::Unspecified => UNKNOWN,
        Reachability::Connecting => CONNECTING,
        Reachability::Reachable => REACHABLE,
        Reachability::Unreachable => UNREACHABLE,
        Reachability::Refused => REFUSED,
        Reachability::Disconnected => DISCONNECTED,
        Reachability::Quarantined => QUARANTINED,
    }
}

pub(super) fn workload_state(value: WorkloadState) -> Text {
    match value {
        WorkloadState::Unspecified => UNKNOWN,
        WorkloadState::Stopped => STOPPED,
        WorkloadState::Starting => STARTING,
        WorkloadState::Healthy => HEALTHY,
        WorkloadState::Unhealthy => UNHEALTHY,
        WorkloadState::Failed => FAILED,
        WorkloadState::Installing => INSTALLING,
    }
}

pub(super) fn yes_no(value: bool) -> &'static str {
    if value { YES.say() } else { NO.say() }
}

pub(super) fn running(value: bool) -> Text {
    if value { RUNNING } else { STOPPED }
}

texts! { pub(super),
    OF = "{} of {}" | "{} von {}" | "{} sur {}" | "{} di {}";
    DATA_SET_HOLDS = "{}: {} members, {}" | "{}: {} Einträge, {}" | "{} : {} éléments, {}" | "{}: {} elementi, {}";
    NOTE_LINE = "note: {}" | "Hinweis: {}" | "remarque : {}" | "nota: {}";
    WARNING_LINE = "warning: {}" | "Warnung: {}" | "avertissement : {}" | "avviso: {}";
    ERROR_LINE = "error: {}" | "Fehler: {}" | "erreur : {}" | "errore: {}";
    PLACE = "Place" | "Ort" | "Emplacement" | "Luogo";
    CREDENTIALS = "Credentials" | "Zugangsdaten" | "Identifiants" | "Credenziali";
    LIMIT = "Limit" | "Begrenzung" | "Limite" | "Limite";
    LARGEST_FILE = "Largest file" | "Größte Datei" | "Fichier maximal" | "File massimo";
    USER = "User" | "Benutzer" | "Utilisateur" | "Utente";
    PASSWORD = "Password" | "Passwort" | "Mot de passe" | "Password";
    SHARE = "Share, sub-directories attached with /" | "Freigabe, Unterverzeichnisse mit / angehängt" | "Partage, sous-répertoires ajoutés avec /" | "Condivisione, sottocartelle aggiunte con /";
    USB_LABEL = "Label of the file system" | "Bezeichnung des Dateisystems" | "Nom du système de fichiers" | "Etichetta del file system";
    BUCKET = "Bucket" | "Bucket" | "Bucket" | "Bucket";
    ACCESS_KEY = "Access key" | "Zugriffsschlüssel" | "Clé d'accès" | "Chiave di accesso";
    SECRET_KEY = "Secret key" | "Geheimer Schlüssel" | "Clé secrète" | "Chiave segreta";
    MAIL_FROM = "Address of the sender" | "Adresse des Absenders" | "Adresse de l'expéditeur" | "Indirizzo del mittente";
    ACCOUNT = "Account" | "Konto" | "Compte" | "Account";
    WARNING = "Warning" | "Warnung" | "Avertissement" | "Avviso";
    WARNINGS = "Warnings" | "Warnungen" | "Avertissements" | "Avvisi";
    WARNED = "Warned" | "Gewarnt werden" | "Avertis" | "Avvisati";
    RESELLER = "Reseller" | "Wiederverkäufer" | "Revendeur" | "Rivenditore";
    WARN_QUOTA = "quota" | "Speicherplatz" | "espace" | "spazio";
    WARN_SCHEDULE = "missed times" | "verpasste Zeiten" | "heures manquées" | "orari mancati";
    WARN_UNSUCCESSFUL = "errors" | "Fehler" | "erreurs" | "errori";
    WARN_UPGRADE = "too old" | "zu alt" | "trop ancien" | "troppo vecchio";
    WARN_NO_BACKUP = "never used" | "nie benutzt" | "jamais utilisé" | "mai usato";
    FROM_DIRECTORY = "From the directory" | "Aus dem Verzeichnisdienst" | "De l'annuaire" | "Dalla directory";
    SINCE = "Since" | "Seit" | "Depuis" | "Da";
    TOLD = "Told" | "Gemeldet" | "Signalé" | "Segnalato";
    REMOVE_ACCOUNT = "Forget the account `{}`? Its backups stay" | "Das Konto `{}` vergessen? Seine Sicherungen bleiben" | "Oublier le compte `{}` ? Ses sauvegardes restent" | "Dimenticare l'account `{}`? I suoi backup restano";
    WRITTEN = "Written" | "Geschrieben" | "Écrit" | "Scritto";
    MAIL_SENT = "sent" | "gesendet" | "envoyé" | "inviato";
    ATTEMPTS = "Attempts" | "Versuche" | "Essais" | "Tentativi";
    MAIL_SUBJECT = "Subject" | "Betreff" | "Objet" | "Oggetto";
    MAIL_TO = "Address of the receiver" | "Adresse des Empfängers" | "Adresse du destinataire" | "Indirizzo del destinatario";
    DROPBOX_APP_KEY = "Key of the Dropbox app" | "Schlüssel der Dropbox-App" | "Clé de l'application Dropbox" | "Chiave dell'app Dropbox";
    DROPBOX_OPEN = "Open this page, allow the access, and bring the code back:" | "Diese Seite öffnen, den Zugriff erlauben und den Code hier eingeben:" | "Ouvrez cette page, autorisez l'accès et rapportez le code :" | "Aprire questa pagina, consentire l'accesso e riportare il codice:";
    DROPBOX_CODE = "Code that the page showed" | "Code, den die Seite gezeigt hat" | "Code affiché par la page" | "Codice mostrato dalla pagina";
    KIND_SERVER = "Server hard disk" | "Festplatte des Servers" | "Disque dur du serveur" | "Disco rigido del server";
    KIND_DIRECTORY = "Directory of the satellite" | "Verzeichnis des Satelliten" | "Répertoire du satellite" | "Cartella del satellite";
    KIND_SMB = "Windows share" | "Windows-Freigabe" | "Partage Windows" | "Condivisione Windows";
    KIND_SFTP = "SFTP" | "SFTP" | "SFTP" | "SFTP";
    KIND_DROPBOX = "Dropbox" | "Dropbox" | "Dropbox" | "Dropbox";
    KIND_USB = "USB storage" | "USB-Speicher" | "Stockage USB" | "Memoria USB";
    KIND_MAIL = "Send to e-mail address" | "An E-Mail-Adresse senden" | "Envoyer à une adresse e-mail" | "Inviare a un indirizzo e-mail";
    KIND_S3 = "S3 storage" | "S3-Speicher" | "Stockage S3" | "Archivio S3";
    KIND_WEBDAV = "WebDAV" | "WebDAV" | "WebDAV" | "WebDAV";
    STEP_OK = "good" | "gut" | "bon" | "bene";
    HOST_KEY_UNKNOWN =
        "the server shows a key that nobody has confirmed yet: {}; compare it with what its administrator says"
        | "der Server zeigt einen Schlüssel, den noch niemand bestätigt hat: {}; mit dem vergleichen, was dessen Administrator sagt"
        | "le serveur présente une clé que personne n'a encore confirmée : {} ; comparez-la avec ce que dit son administrateur"
        | "il server mostra una chiave che nessuno ha ancora confermato: {}; confrontarla con quanto dice il suo amministratore";
    HOST_KEY_TRUST = "Trust this key from now on?" | "Diesem Schlüssel von nun an vertrauen?" | "Faire désormais confiance à cette clé ?" | "Fidarsi di questa chiave d'ora in poi?";
    REMOVE_DESTINATION = "Forget the destination `{}`? What was copied there stays" | "Das Ziel `{}` vergessen? Was dorthin kopiert wurde, bleibt" | "Oublier la destination `{}` ? Ce qui y a été copié reste" | "Dimenticare la destinazione `{}`? Ciò che vi è stato copiato resta";
    REMOVE_CONFIG = "Forget the configuration `{}`? Its archives stay" | "Die Konfiguration `{}` vergessen? Ihre Archive bleiben" | "Oublier la configuration `{}` ? Ses archives restent" | "Dimenticare la configurazione `{}`? I suoi archivi restano";
    CANCEL_RUN = "End the run {}?" | "Den Lauf {} beenden?" | "Mettre fin à l'exécution {} ?" | "Terminare l'esecuzione {}?";
    APPLY_RETENTION = "Remove the archives that `{}` does not keep?" | "Die Archive löschen, die `{}` nicht aufbewahrt?" | "Supprimer les archives que `{}` ne conserve pas ?" | "Rimuovere gli archivi che `{}` non conserva?";
    DESTINATION = "Destination" | "Ziel" | "Destination" | "Destinazione";
    DESTINATIONS = "Destinations" | "Ziele" | "Destinations" | "Destinazioni";
    INTERVAL = "Interval" | "Intervall" | "Intervalle" | "Intervallo";
    NEXT_DUE = "Next due" | "Nächstes Mal" | "Prochaine fois" | "Prossima volta";
    LAST_RUN = "Last run" | "Letzter Lauf" | "Dernière exécution" | "Ultima esecuzione";
    REPORT_TO = "Report to" | "Fehlerbericht an" | "Rapport à" | "Rapporto a";
    LANGUAGE = "Language" | "Sprache" | "Langue" | "Lingua";
    START = "Start" | "Beginn" | "Début" | "Inizio";
    TIME_ZONE = "Time zone" | "Zeitzone" | "Fuseau horaire" | "Fuso orario";
    CATCH_UP = "Missed times" | "Versäumte Zeiten" | "Fois manquées" | "Volte mancate";
    DATA_SETS = "Data sets" | "Datenbestände" | "Jeux de données" | "Insiemi di dati";
    DIRECTORY = "Directory" | "Verzeichnis" | "Répertoire" | "Cartella";
    RETENTION = "Kept" | "Aufbewahrt" | "Conservé" | "Conservati";
    ENABLED = "Runs by itself" | "Läuft von selbst" | "S'exécute seul" | "Si esegue da sé";
    OLDER_THAN = "Older than (days)" | "Älter als (Tage)" | "Plus de (jours)" | "Più di (giorni)";
    OFF = "off" | "aus" | "arrêté" | "disattivato";
    QUEUED = "waiting" | "wartet" | "en attente" | "in attesa";
    DEFERRED = "deferred" | "aufgeschoben" | "reporté" | "rinviato";
    SUCCEEDED = "succeeded" | "gelungen" | "réussi" | "riuscito";
    PARTIAL = "partly" | "teilweise" | "partiel" | "parziale";
    CANCELLED = "cancelled" | "abgebrochen" | "annulé" | "annullato";
    MISSED = "missed" | "versäumt" | "manqué" | "mancato";
    COPIED = "copied" | "kopiert" | "copié" | "copiato";
    SKIPPED = "not tried" | "nicht versucht" | "non tenté" | "non tentato";
    BY_HAND = "by hand" | "von Hand" | "à la main" | "a mano";
    BY_SCHEDULE = "schedule" | "Zeitplan" | "planification" | "pianificazione";
    MADE_UP = "made up" | "nachgeholt" | "rattrapage" | "recupero";
    CAUSE = "Cause" | "Anlass" | "Cause" | "Causa";
    DEFERRED_BECAUSE = "deferred because {}" | "aufgeschoben, weil: {}" | "reporté parce que : {}" | "rinviato perché: {}";
    KEPT_AS = "Kept as" | "Bleibt als" | "Conservé comme" | "Conservato come";
    GOES_BECAUSE = "Goes because" | "Geht, weil" | "Part parce que" | "Va perché";
    BEGINS_LATER = "nothing was made yet: the run begins by itself, as said above" | "es wurde noch nichts gemacht: der Lauf beginnt von selbst, wie oben gesagt" | "rien n'a encore été fait : l'exécution commencera d'elle-même, comme indiqué ci-dessus" | "non è stato ancora fatto nulla: l'esecuzione comincia da sé, come detto sopra";
    PROFILE_GOOD = "the profile of `{}` is good" | "das Profil von `{}` ist in Ordnung" | "le profil de `{}` est bon" | "il profilo di `{}` è corretto";
    PROFILE_LACKS = "the profile is well-formed, but this machine lacks what it names: on the central itself it must be there" | "das Profil ist richtig geschrieben, aber auf dieser Maschine fehlt, was es nennt: auf der Anlage selbst muss es da sein" | "le profil est bien formé, mais cette machine n'a pas ce qu'il nomme : sur le central lui-même, cela doit exister" | "il profilo è ben formato, ma a questa macchina manca ciò che nomina: sulla centrale stessa deve esserci";
    PATH_MISSING = "there is no `{}` on this machine" | "es gibt kein `{}` auf dieser Maschine" | "il n'y a pas de `{}` sur cette machine" | "non c'è `{}` su questa macchina";
    PROGRAM_MISSING = "the program `{}` is not installed on this machine" | "das Programm `{}` ist auf dieser Maschine nicht installiert" | "le programme `{}` n'est pas installé sur cette machine" | "il programma `{}` non è installato su questa macchina";
    CENTRAL_GOOD = "`{}` answers and has everything that its profile names" | "`{}` antwortet und hat alles, was ihr Profil nennt" | "`{}` répond et possède tout ce que son profil nomme" | "`{}` risponde e ha tutto ciò che il suo profilo nomina";
    CENTRAL_LACKS = "the central answers, but lacks what its profile names: correct the profile, or install what is missing" | "die Anlage antwortet, aber ihr fehlt, was ihr Profil nennt: das Profil berichtigen oder Fehlendes installieren" | "le central répond, mais il lui manque ce que son profil nomme : corrigez le profil ou installez ce qui manque" | "la centrale risponde, ma le manca ciò che il suo profilo nomina: correggere il profilo o installare ciò che manca";
    PATH_MISSING_THERE = "there is no `{}` on the central" | "es gibt kein `{}` auf der Anlage" | "il n'y a pas de `{}` sur le central" | "non c'è `{}` sulla centrale";
    PROGRAM_MISSING_THERE = "the program `{}` is not installed on the central" | "das Programm `{}` ist auf der Anlage nicht installiert" | "le programme `{}` n'est pas installé sur le central" | "il programma `{}` non è installato sulla centrale";
    REACHED = "Reached" | "Erreicht" | "Accès" | "Accesso";
    REACHED_HERE = "on this server" | "auf diesem Server" | "sur ce serveur" | "su questo server";
    NOTHING_OLD = "nothing was old enough to be archived" | "nichts war alt genug, um archiviert zu werden" | "rien n'était assez ancien pour être archivé" | "nulla era abbastanza vecchio da essere archiviato";
    NOT_EVERYWHERE = "the archive is kept, but not everywhere where it should be: what is missing was named above" | "das Archiv ist da, aber nicht überall, wo es sein soll: was fehlt, wurde oben genannt" | "l'archive est conservée, mais pas partout où elle devrait l'être : ce qui manque est nommé ci-dessus" | "l'archivio è conservato, ma non ovunque dovrebbe: ciò che manca è indicato sopra";
    CONFIG_NEEDS = "a configuration needs a name and a central, and there is nobody to ask: add NAME and --central" | "eine Konfiguration braucht einen Namen und eine Anlage, und niemand kann gefragt werden: NAME und --central angeben" | "une configuration a besoin d'un nom et d'un central, et il n'y a personne à qui demander : ajoutez NAME et --central" | "una configurazione ha bisogno di un nome e di una centrale, e non c'è nessuno a cui chiedere: aggiungere NAME e --central";
    NOBODY_TO_CHOOSE = "there is nobody to ask: say it on the command line (see --help)" | "niemand kann gefragt werden: auf der Befehlszeile angeben (siehe --help)" | "il n'y a personne à qui demander : indiquez-le sur la ligne de commande (voir --help)" | "non c'è nessuno a cui chiedere: indicarlo sulla riga di comando (vedere --help)";
    STEP_NAME = "Name and time" | "Name und Zeit" | "Nom et horaire" | "Nome e orario";
    STEP_DATA = "Data" | "Daten" | "Données" | "Dati";
    STEP_PLACE = "Destination" | "Ziel" | "Destination" | "Destinazione";
    STEP_OVERVIEW = "Overview" | "Überblick" | "Aperçu" | "Riepilogo";
    EVERY_DAY = "each day" | "jeden Tag" | "chaque jour" | "ogni giorno";
    EVERY_WEEK = "on days of the week" | "an Wochentagen" | "certains jours de la semaine" | "in giorni della settimana";
    EVERY_MONTH = "on a day of the month" | "an einem Tag im Monat" | "un jour du mois" | "un giorno del mese";
    EVERY_HOURS = "each so many hours" | "alle paar Stunden" | "toutes les quelques heures" | "ogni tante ore";
    EVERY_MANUAL = "manual: never by itself" | "manuell: nie von selbst" | "manuel : jamais tout seul" | "manuale: mai da sé";
    WEEKDAYS = "Days, of mon,tue,wed,thu,fri,sat,sun" | "Tage, aus mon,tue,wed,thu,fri,sat,sun" | "Jours, parmi mon,tue,wed,thu,fri,sat,sun" | "Giorni, tra mon,tue,wed,thu,fri,sat,sun";
    DAY_OF_MONTH = "Day, 1 to 31 or last" | "Tag, 1 bis 31 oder last" | "Jour, 1 à 31 ou last" | "Giorno, da 1 a 31 o last";
    HOURS = "Hours, 1 to 744" | "Stunden, 1 bis 744" | "Heures, 1 à 744" | "Ore, da 1 a 744";
    CAN_BE_VERY_LARGE = "call details and voicemails can be large: mind the space of the destination" | "Verbindungsdaten und Sprachnachrichten können groß sein: auf den Platz am Ziel achten" | "les détails d'appels et les messages vocaux peuvent être volumineux : attention à l'espace de la destination" | "i dettagli delle chiamate e i messaggi vocali possono essere grandi: attenzione allo spazio della destinazione";
    CHOOSE_ONE = "choose one at least (space bar)" | "mindestens einen wählen (Leertaste)" | "choisissez-en au moins un (barre d'espace)" | "sceglierne almeno uno (barra spaziatrice)";
    SATELLITE_ONLY = "the satellite only" | "nur auf dem Satelliten" | "le satellite seulement" | "solo il satellite";
    NO_DESTINATION = "there is no destination yet: `destination add` makes one, `backup config edit` adds it later" | "es gibt noch kein Ziel: `destination add` legt eines an, `backup config edit` fügt es später hinzu" | "il n'y a pas encore de destination : `destination add` en crée une, `backup config edit` l'ajoute plus tard" | "non c'è ancora una destinazione: `destination add` ne crea una, `backup config edit` la aggiunge poi";
    NO_CENTRAL = "there is no central yet: `central add` makes one known" | "es gibt noch keine Anlage: `central add` macht eine bekannt" | "il n'y a pas encore de central : `central add` en fait connaître un" | "non c'è ancora una centrale: `central add` ne rende nota una";
    SAVE_AND_RUN = "Keep the settings and run the backup" | "Einstellungen behalten und Backup ausführen" | "Conserver les paramètres et exécuter la sauvegarde" | "Mantenere le impostazioni ed eseguire il backup";
    RUN_ONLY = "Only run the backup" | "Nur das Backup ausführen" | "Exécuter seulement la sauvegarde" | "Eseguire solo il backup";
    SAVE_ONLY = "Only keep the settings" | "Nur die Einstellungen behalten" | "Conserver seulement les paramètres" | "Mantenere solo le impostazioni";
    WHAT_NEXT = "What next" | "Wie weiter" | "Et ensuite" | "E adesso";
    ROLE = "Role" | "Rolle" | "Rôle" | "Ruolo";
    TENANTS = "Tenants" | "Mandanten" | "Locataires" | "Tenant";
    SECOND_FACTOR = "Second factor" | "Zweiter Faktor" | "Second facteur" | "Secondo fattore";
    DISABLED = "Disabled" | "Gesperrt" | "Bloqué" | "Disattivato";
    SIGNED_IN = "Signed in" | "Angemeldet" | "Connexion" | "Accesso";
    ASK_PASSWORD = "Password" | "Passwort" | "Mot de passe" | "Password";
    REMOVE_USER = "Remove user" | "Benutzer entfernen:" | "Supprimer l'utilisateur" | "Rimuovere l'utente";
    OWN_KEY = "Own key" | "Eigener Schlüssel" | "Clé propre" | "Chiave propria";
    PROFILE = "Profile" | "Profil" | "Profil" | "Profilo";
    CONNECTIONS_CUT = "Connections cut" | "Getrennte Verbindungen" | "Connexions coupées" | "Connessioni interrotte";
    LEFT_OUT = "Left out" | "Ausgelassen" | "Omis" | "Omessi";
    ARCHIVE_LACKS =
        "the archive is kept, but {} things could not be read and are not in it: they were named above"
        | "das Archiv ist da, aber {} Dinge konnten nicht gelesen werden und fehlen darin: sie wurden oben genannt"
        | "l'archive est conservée, mais {} éléments n'ont pas pu être lus et n'y figurent pas : ils sont nommés ci-dessus"
        | "l'archivio è conservato, ma {} elementi non sono stati letti e mancano: sono indicati sopra";
    NAME = "Name" | "Name" | "Nom" | "Nome";
    ADDRESS = "Address" | "Adresse" | "Adresse" | "Indirizzo";
    FINGERPRINT = "Fingerprint" | "Fingerabdruck" | "Empreinte" | "Impronta";
    STATE = "State" | "Zustand" | "État" | "Stato";
    AS_WANTED = "As wanted" | "Wie gewünscht" | "Comme voulu" | "Come voluto";
    LAST_SEEN = "Last seen" | "Zuletzt gesehen" | "Vu en dernier" | "Visto l'ultima volta";
    PAIRED = "Paired" | "Verbunden seit" | "Connecté depuis" | "Collegato dal";
    PROBLEM = "Problem" | "Problem" | "Problème" | "Problema";
    BRIDGE = "Bridge" | "Bridge" | "Bridge" | "Bridge";
    SYSTEM = "System" | "System" | "Système" | "Sistema";
    STARTED = "Started" | "Gestartet" | "Démarré" | "Avviato";
    ADDRESSES = "Addresses" | "Adressen" | "Adresses" | "Indirizzi";
    DISK_FREE = "Disk free" | "Platte frei" | "Disque libre" | "Disco libero";
    MEMORY_FREE = "Memory free" | "Speicher frei" | "Mémoire libre" | "Memoria libera";
    FIREWALL_REVISION = "Firewall revision" | "Firewall-Stand" | "Révision du pare-feu" | "Revisione del firewall";
    OPEN_CHANGE = "Open change" | "Offene Änderung" | "Changement ouvert" | "Modifica aperta";
    WANTED = "Wanted" | "Gewünscht" | "Voulu" | "Voluto";
    WORKLOAD = "Workload" | "Dienst" | "Service" | "Servizio";
    WORKLOADS = "Workloads" | "Dienste" | "Services" | "Servizi";
    FILE = "File" | "Datei" | "Fichier" | "File";
    ID = "Id" | "Kennung" | "Identifiant" | "Identificatore";
    ENCRYPTED = "Encrypted" | "Verschlüsselt" | "Chiffré" | "Cifrato";
    WITH_PASSPHRASE = "with a passphrase" | "mit einer Passphrase" | "avec une phrase secrète" | "con una passphrase";
    ARCHIVE_ABOUT = "Archive, about" | "Archiv, etwa" | "Archive, environ" | "Archivio, circa";
    BYTES_FREE = "{} free" | "{} frei" | "{} libres" | "{} liberi";
    FREE_UNKNOWN = "does not say how much is free" | "sagt nicht, wie viel frei ist" | "n'indique pas la place libre"
        | "non indica lo spazio libero";
    SIZE = "Size" | "Größe" | "Taille" | "Dimensione";
    DATE = "Date" | "Datum" | "Date" | "Data";
    CENTRAL = "Central" | "Anlage" | "Central" | "Centrale";
    TENANT = "Tenant" | "Mandant" | "Locataire" | "Tenant";
    SATELLITE = "Satellite" | "Satellit" | "Satellite" | "Satellite";
    PATH = "Path" | "Pfad" | "Chemin" | "Percorso";
    SHA256 = "SHA-256" | "SHA-256" | "SHA-256" | "SHA-256";
    VERIFIED = "Verified" | "Geprüft" | "Vérifié" | "Verificato";
    DATA_SET = "Data set" | "Datenbestand" | "Jeu de données" | "Insieme di dati";
    INTACT = "Intact" | "Unversehrt" | "Intact" | "Integro";
    MEMBERS = "Members" | "Einträge" | "Éléments" | "Elementi";
    VERSION = "Version" | "Version" | "Version" | "Versione";
    RELEASE = "Release" | "Ausgabe" | "Édition" | "Rilascio";
    ARCHITECTURE = "Architecture" | "Architektur" | "Architecture" | "Architettura";
    LEAST_BRIDGE = "Least bridge" | "Älteste Bridge" | "Bridge minimal" | "Bridge minimo";
    SIGNED_BY = "Signed by" | "Signiert von" | "Signé par" | "Firmato da";
    MANIFEST = "Manifest" | "Manifest" | "Manifeste" | "Manifesto";
    FILES = "Files" | "Dateien" | "Fichiers" | "File";
    CHUNKS = "Chunks" | "Stücke" | "Morceaux" | "Blocchi";
    INSTALLED = "Installed" | "Installiert" | "Installé" | "Installato";
    PACKETS = "Packets" | "Pakete" | "Paquets" | "Pacchetti";
    ENDED = "Ended" | "Beendet" | "Terminé" | "Terminato";
    WAVE = "Wave" | "Welle" | "Vague" | "Ondata";
    SITE = "Site" | "Standort" | "Site" | "Sede";
    FAILED_COUNT = "Failed" | "Fehlgeschlagen" | "Échoués" | "Falliti";
    DURATION = "Duration" | "Dauer" | "Durée" | "Durata";
    SENT = "Sent" | "Gesendet" | "Envoyé" | "Inviato";
    SAVED = "Saved" | "Gespart" | "Économisé" | "Risparmiato";
    HELD = "Held" | "Zurückgehalten" | "Retenu" | "Trattenuto";
    TRIES = "Tries" | "Versuche" | "Essais" | "Tentativi";
    ROOT_KEYS = "Root keys" | "Wurzelschlüssel" | "Clés racine" | "Chiavi radice";
    RELEASE_KEYS = "Release keys" | "Ausgabeschlüssel" | "Clés de publication" | "Chiavi di rilascio";
    SEQUENCE = "Sequence" | "Folge" | "Séquence" | "Sequenza";
    FLOORS = "Least releases" | "Kleinste Ausgaben" | "Éditions minimales" | "Rilasci minimi";
    NOT_ROOTED = "in the image, for good" | "im Abbild, unveränderlich" | "dans l'image, définitives" | "nell'immagine, definitive";
    CHANNEL = "Channel" | "Kanal" | "Canal" | "Canale";
    MASTER = "master" | "Hauptanlage" | "maître" | "principale";
    SECONDARY = "secondary" | "Nebenanlage" | "secondaire" | "secondaria";
    ADDED = "Added" | "Hinzugefügt" | "Ajouté" | "Aggiunto";
    CAN_BE_LARGE = "Can be large" | "Kann groß sein" | "Peut être grand" | "Può essere grande";
    DESCRIPTION = "Description" | "Beschreibung" | "Description" | "Descrizione";
    HOST_NAME = "Host name" | "Rechnername" | "Nom d'hôte" | "Nome host";
    PORT = "Port" | "Anschluss" | "Port" | "Porta";
    IPV4 = "IPv4" | "IPv4" | "IPv4" | "IPv4";
    IPV4_GATEWAY = "IPv4 gateway" | "IPv4-Gateway" | "Passerelle IPv4" | "Gateway IPv4";
    IPV6 = "IPv6" | "IPv6" | "IPv6" | "IPv6";
    IPV6_GATEWAY = "IPv6 gateway" | "IPv6-Gateway" | "Passerelle IPv6" | "Gateway IPv6";
    DNS = "Name servers" | "Nameserver" | "Serveurs DNS" | "Server DNS";
    NTP = "Time servers" | "Zeitserver" | "Serveurs de temps" | "Server orari";
    VLAN = "Virtual LAN" | "VLAN" | "VLAN" | "VLAN";
    MTU = "Largest packet" | "Größtes Paket" | "Taille de paquet" | "Pacchetto massimo";
    PROXY = "Proxy" | "Proxy" | "Proxy" | "Proxy";
    HOST_NAME_NOW = "Host name now" | "Rechnername jetzt" | "Nom d'hôte actuel" | "Nome host attuale";
    LINKS_NOW = "Ports now" | "Anschlüsse jetzt" | "Ports actuels" | "Porte attuali";
    ADDRESSES_NOW = "Addresses now" | "Adressen jetzt" | "Adresses actuelles" | "Indirizzi attuali";
    DUPLICATE_ADDRESSES = "Taken addresses" | "Belegte Adressen" | "Adresses prises" | "Indirizzi occupati";
    GATEWAYS_NOW = "Gateways now" | "Gateways jetzt" | "Passerelles actuelles" | "Gateway attuali";
    DNS_NOW = "Name servers now" | "Nameserver jetzt" | "Serveurs DNS actuels" | "Server DNS attuali";
    NTP_NOW = "Time servers now" | "Zeitserver jetzt" | "Serveurs de temps actuels" | "Server orari attuali";
    LINK_UP = "link" | "verbunden" | "lien actif" | "collegato";
    LINK_DOWN = "no link" | "keine Verbindung" | "pas de lien" | "nessun collegamento";
    SEVERITY = "Severity" | "Gewicht" | "Gravité" | "Gravità";
    REVISION = "Revision" | "Stand" | "Révision" | "Revisione";
    IN_FORCE_AS_SET = "In force as set" | "Gilt wie gesetzt" | "En vigueur comme défini" | "In vigore come impostato";
    OWNER = "Owner" | "Besitzer" | "Propriétaire" | "Proprietario";
    RULE = "Rule" | "Regel" | "Règle" | "Regola";
    DIRECTION = "Direction" | "Richtung" | "Sens" | "Direzione";
    PROTOCOL = "Protocol" | "Protokoll" | "Protocole" | "Protocollo";
    PORTS = "Ports" | "Ports" | "Ports" | "Porte";
    REMOTES = "Remotes" | "Gegenstellen" | "Distants" | "Remoti";
    ACTION = "Action" | "Aktion" | "Action" | "Azione";
    COMMENT = "Comment" | "Kommentar" | "Commentaire" | "Commento";
    SOURCE = "Source" | "Quelle" | "Source" | "Fonte";
    KIND = "Kind" | "Art" | "Genre" | "Tipo";
    CHANGED = "Changed" | "Geändert" | "Modifié" | "Modificato";
    NUMBER = "Number" | "Nummer" | "Numéro" | "Numero";
    TIME = "Time" | "Zeit" | "Heure" | "Ora";
    WHO = "Who" | "Wer" | "Qui" | "Chi";
    SUBJECT = "Subject" | "Gegenstand" | "Objet" | "Oggetto";
    RESULT = "Result" | "Ergebnis" | "Résultat" | "Risultato";
    INSTALLATION = "Installation" | "Installation" | "Installation" | "Installazione";
    SATELLITES = "Satellites" | "Satelliten" | "Satellites" | "Satelliti";
    ANSWERING = "Reachable" | "Erreichbar" | "Joignables" | "Raggiungibili";
    WANTED_VERSION = "Wanted version" | "Gewünschte Version" | "Version voulue" | "Versione voluta";
    WANTED_TO_RUN = "Wanted to run" | "Soll laufen" | "Doit tourner" | "Deve funzionare";
    RESTARTS = "Restarts" | "Neustarts" | "Redémarrages" | "Riavvii";
    MEMORY = "Memory" | "Speicher" | "Mémoire" | "Memoria";
    PREVIOUS_VERSION = "Previous version" | "Vorige Version" | "Version précédente" | "Versione precedente";
    YES = "yes" | "ja" | "oui" | "sì";
    NO = "no" | "nein" | "non" | "no";
    NEWEST = "newest" | "neueste" | "la plus récente" | "la più recente";
    RUNNING = "running" | "läuft" | "en marche" | "in funzione";
    DONE = "done" | "erledigt" | "terminé" | "fatto";
    ANY = "any" | "alle" | "tous" | "tutti";
    UNKNOWN = "unknown" | "unbekannt" | "inconnu" | "sconosciuto";
    CONNECTING = "connecting" | "wird verbunden" | "connexion en cours" | "connessione in corso";
    REACHABLE = "reachable" | "erreichbar" | "joignable" | "raggiungibile";
    UNREACHABLE = "unreachable" | "nicht erreichbar" | "injoignable" | "irraggiungibile";
    OPEN = "open" | "offen" | "ouvert" | "aperto";
    USED = "used" | "benutzt" | "utilisé" | "usato";
    EXPIRED = "expired" | "abgelaufen" | "expiré" | "scaduto";
    REVOKED = "revoked" | "widerrufen" | "révoqué" | "revocato";
    SERVER = "Server" | "Server" | "Serveur" | "Server";
    RENEWED = "Renewed" | "Wird erneuert" | "Renouvelé" | "Rinnovo";
    NOT_RENEWED = "Why not yet" | "Warum noch nicht" | "Pourquoi pas encore" | "Perché non ancora";
    EXPIRES = "Expires" | "Läuft ab" | "Expire" | "Scade";
    COMMAND = "Command" | "Befehl" | "Commande" | "Comando";
    TOKEN = "Join token" | "Beitrittsschlüssel" | "Jeton d'adhésion" | "Token di adesione";
    DISCONNECTED = "disconnected" | "getrennt" | "déconnecté" | "scollegato";
    QUARANTINED = "quarantined" | "in Quarantäne" | "en quarantaine" | "in quarantena";
    REFUSED = "refused" | "abgelehnt" | "refusé" | "rifiutato";
    STOPPED = "stopped" | "angehalten" | "arrêté" | "fermo";
    STARTING = "starting" | "startet" | "démarre" | "in avvio";
    HEALTHY = "healthy" | "gesund" | "en bonne santé" | "sano";
    UNHEALTHY = "unhealthy" | "gestört" | "perturbé" | "non sano";
    FAILED = "failed" | "fehlgeschlagen" | "échoué" | "fallito";
    INSTALLING = "installing" | "wird installiert" | "installation en cours" | "installazione in corso";
    SOURCE_UNIT = "unit" | "Dienst" | "service" | "servizio";
    SOURCE_FILE = "file" | "Datei" | "fichier" | "file";
    SOURCE_KERNEL = "kernel" | "Kernel" | "noyau" | "kernel";
    SOURCE_SYSTEM = "system" | "System" | "système" | "sistema";
    NO_REASON = "the module gave no reason" | "das Modul nannte keinen Grund" | "le module n'a pas donné de raison" | "il modulo non ha indicato il motivo";
    ASK_CODE = "Code on the satellite's console" | "Code auf der Konsole des Satelliten" | "Code sur la console du satellite" | "Codice sulla console del satellite";
    NOTHING_CHANGED = "nothing was changed" | "es wurde nichts geändert" | "rien n'a été changé" | "nulla è stato modificato";
    NOBODY_TO_ASK = "this cannot be undone and there is nobody to ask: add --yes" | "das lässt sich nicht rückgängig machen, und niemand kann gefragt werden: --yes angeben" | "c'est irréversible et il n'y a personne à qui demander : ajoutez --yes" | "è irreversibile e non c'è nessuno a cui chiedere: aggiungere --yes";
    LOGS_LACK = "the logs of some satellites could not be read: they were named above" | "die Logs einiger Satelliten konnten nicht gelesen werden: sie wurden oben genannt" | "les journaux de certains satellites n'ont pas pu être lus : ils sont nommés ci-dessus" | "i log di alcuni satelliti non sono stati letti: sono indicati sopra";
    RULES_DIFFER = "the rules differ; nothing was changed" | "die Regeln weichen ab; es wurde nichts geändert" | "les règles diffèrent ; rien n'a été changé" | "le regole differiscono; nulla è stato modificato";
    NOT_IN_SYNC = "what is in force is not what was set: somebody else changed the chains; the bridge puts them back within a minute (see `satellite logs`)" | "was gilt, ist nicht, was gesetzt wurde: jemand anders hat die Ketten geändert; die Bridge stellt sie binnen einer Minute wieder her (siehe `satellite logs`)" | "ce qui est en vigueur n'est pas ce qui a été défini : quelqu'un d'autre a modifié les chaînes ; le bridge les rétablit en une minute (voir `satellite logs`)" | "ciò che è in vigore non è ciò che è stato impostato: qualcun altro ha modificato le catene; il bridge le ripristina entro un minuto (vedere `satellite logs`)";
    CODE_IN_ARGV = "the code is visible to other users in the list of processes: better use --code-file, --code - or the prompt" | "der Code ist für andere Benutzer in der Prozessliste sichtbar: besser --code-file, --code - oder die Eingabe benutzen" | "le code est visible pour d'autres utilisateurs dans la liste des processus : préférez --code-file, --code - ou la saisie" | "il codice è visibile ad altri utenti nell'elenco dei processi: meglio --code-file, --code - o la richiesta";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_missing_in_any_language() {
        for (name, text) in ALL {
            for language in Language::value_variants() {
                let said = language.say(*text);
                assert!(!said.trim().is_empty(), "{name} in {language:?}");
                assert_eq!(said, said.trim(), "{name} in {language:?}");
                assert!(!said.contains(char::is_control), "{name} in {language:?}");
            }
            // A sentence that is the same in two languages was forgotten in one of them.
            let is_sentence = text.english().split(' ').count() > 2;
            let others = [Language::De, Language::Fr, Language::It];
            let is_copied = others.iter().any(|other| other.say(*text) == text.english());
            assert!(!(is_sentence && is_copied), "{name}");
        }
    }

    #[test]
    fn the_environment_chooses_the_language() {
        let of = |set: &[(&str, &str)]| {
            Language::of_environment(|name| {
                let found = set.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(of(&[]), Language::En);
        assert_eq!(of(&[("LANG", "C.UTF-8")]), Language::En);
        assert_eq!(of(&[("LANG", "de_CH.UTF-8")]), Language::De);
        assert_eq!(of(&[("LANG", "de_DE"), ("LC_ALL", "it_IT@euro")]), Language::It);
        assert_eq!(of(&[("LC_ALL", ""), ("LANG", "fr")]), Language::Fr);
        assert_eq!(of(&[("LC_ALL", "C"), ("LANG", "fr")]), Language::En);
    }

    #[test]
    fn programs_read_english() {
        assert_eq!(serde_json::to_string(&HEALTHY).unwrap(), "\"healthy\"");
    }
}
