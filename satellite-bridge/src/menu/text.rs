//! What the menu says, in four languages: one table.
//!
//! **Invariant:** every text has all languages and fits on 80 columns.

/// A language of the menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    English,
    German,
    French,
    Italian,
}

impl Language {
    pub(super) const ALL: [Self; 4] = [Self::English, Self::German, Self::French, Self::Italian];

    pub(super) fn code(self) -> &'static str {
        ["en", "de", "fr", "it"][self as usize]
    }

    pub(super) fn name(self) -> &'static str {
        ["English", "Deutsch", "Français", "Italiano"][self as usize]
    }

    pub(super) fn from_code(code: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|language| language.code() == code.trim())
    }

    /// The text for `key` in this language.
    pub(super) fn say(self, key: Key) -> &'static str {
        texts(key)[self as usize]
    }
}

/// Names a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Addresses,
    GoOn,
    Back,
    Booted,
    Choose,
    Close,
    CodeHint,
    ConfirmReboot,
    ConfirmShutDown,
    Connect,
    DaemonDown,
    Disconnect,
    DisconnectHint,
    Disk,
    Done,
    Failed,
    Fingerprint,
    FirewallHint,
    FirewallReset,
    Language,
    LastError,
    Logs,
    Memory,
    MinutesLeft,
    More,
    Name,
    No,
    None,
    NotChanged,
    Paired,
    Port,
    Reboot,
    Refresh,
    Server,
    ShutDown,
    Status,
    System,
    TriesLeft,
    TypeWord,
    Unpaired,
    Version,
    WaitingForServer,
    WindowClosed,
    WindowOpen,
    Workloads,
    Yes,
}

/// English, German, French, Italian.
#[expect(clippy::too_many_lines, reason = "a table")]
fn texts(key: Key) -> [&'static str; 4] {
    match key {
        Key::Addresses => ["Addresses", "Adressen", "Adresses", "Indirizzi"],
        Key::GoOn => [
            "Press any key",
            "Taste drücken",
            "Appuyez sur une touche",
            "Premere un tasto",
        ],
        Key::Back => ["Back", "Zurück", "Retour", "Indietro"],
        Key::Booted => ["Started", "Gestartet", "Démarré", "Avviato"],
        Key::Choose => ["What to do", "Was tun", "Que faire", "Cosa fare"],
        Key::Close => [
            "Press any key to close the window",
            "Taste drücken, um das Fenster zu schließen",
            "Appuyez sur une touche pour fermer la fenêtre",
            "Premere un tasto per chiudere la finestra",
        ],
        Key::CodeHint => [
            "Enter this code on the server:",
            "Diesen Code am Server eingeben:",
            "Saisissez ce code sur le serveur :",
            "Inserire questo codice sul server:",
        ],
        Key::ConfirmReboot => [
            "Restart the machine now?",
            "Maschine jetzt neu starten?",
            "Redémarrer la machine maintenant ?",
            "Riavviare ora la macchina?",
        ],
        Key::ConfirmShutDown => [
            "Shut the machine down now?",
            "Maschine jetzt herunterfahren?",
            "Arrêter la machine maintenant ?",
            "Spegnere ora la macchina?",
        ],
        Key::Connect => [
            "Connect to a server",
            "Mit einem Server verbinden",
            "Connecter à un serveur",
            "Collegare a un server",
        ],
        Key::DaemonDown => [
            "The bridge does not answer. It is started again by itself; wait a moment.",
            "Die Bridge antwortet nicht. Sie startet von selbst neu; bitte kurz warten.",
            "Le bridge ne répond pas. Il redémarre de lui-même ; patientez un instant.",
            "Il bridge non risponde. Si riavvia da solo; attendere un momento.",
        ],
        Key::Disconnect => [
            "Disconnect from the server",
            "Vom Server trennen",
            "Déconnecter du serveur",
            "Scollegare dal server",
        ],
        Key::DisconnectHint => [
            "The server can no longer reach this satellite. Workloads go on.",
            "Der Server erreicht diesen Satelliten nicht mehr. Dienste laufen weiter.",
            "Le serveur ne pourra plus joindre ce satellite. Les services continuent.",
            "Il server non raggiunge più questo satellite. I servizi continuano.",
        ],
        Key::Disk => ["Disk free", "Platte frei", "Disque libre", "Disco libero"],
        Key::Done => ["Done.", "Erledigt.", "Terminé.", "Fatto."],
        Key::Failed => [
            "That failed:",
            "Das ist fehlgeschlagen:",
            "Échec :",
            "Operazione non riuscita:",
        ],
        Key::Fingerprint => ["Fingerprint", "Fingerabdr.", "Empreinte", "Impronta"],
        Key::FirewallHint => [
            "All firewall rules go back to those of delivery, at once.",
            "Alle Firewall-Regeln gehen sofort auf den Auslieferungsstand zurück.",
            "Toutes les règles du pare-feu reviennent à celles d'origine, tout de suite.",
            "Tutte le regole del firewall tornano subito a quelle di fabbrica.",
        ],
        Key::FirewallReset => [
            "Reset the firewall",
            "Firewall zurücksetzen",
            "Réinitialiser le pare-feu",
            "Ripristinare il firewall",
        ],
        Key::Language => ["Language", "Sprache", "Langue", "Lingua"],
        Key::LastError => ["Last error", "Letzter Fehler", "Dernière erreur", "Ultimo errore"],
        Key::Logs => ["Logs", "Protokolle", "Journaux", "Registri"],
        Key::Memory => ["Memory free", "RAM frei", "Mémoire libre", "Memoria libera"],
        Key::MinutesLeft => [
            "Minutes left",
            "Minuten übrig",
            "Minutes restantes",
            "Minuti rimasti",
        ],
        Key::More => [
            "any key: more, q: back",
            "beliebige Taste: weiter, q: zurück",
            "une touche : suite, q : retour",
            "un tasto: avanti, q: indietro",
        ],
        Key::Name => ["Name", "Name", "Nom", "Nome"],
        Key::No => ["No", "Nein", "Non", "No"],
        Key::None => ["none", "keine", "aucun", "nessuno"],
        Key::NotChanged => [
            "Nothing was changed.",
            "Es wurde nichts geändert.",
            "Rien n'a été modifié.",
            "Nulla è stato modificato.",
        ],
        Key::Paired => ["paired with", "verbunden mit", "connecté à", "collegato a"],
        Key::Port => ["Port", "Port", "Port", "Porta"],
        Key::Reboot => ["Restart", "Neu starten", "Redémarrer", "Riavviare"],
        Key::Refresh => ["Refresh", "Aktualisieren", "Actualiser", "Aggiornare"],
        Key::Server => ["Server", "Server", "Serveur", "Server"],
        Key::ShutDown => ["Shut down", "Herunterfahren", "Arrêter", "Spegnere"],
        Key::Status => ["Status", "Status", "État", "Stato"],
        Key::System => ["System", "System", "Système", "Sistema"],
        Key::TriesLeft => [
            "Tries left",
            "Versuche übrig",
            "Essais restants",
            "Tentativi rimasti",
        ],
        Key::TypeWord => [
            "Type this word to go on",
            "Zum Fortfahren dieses Wort eingeben",
            "Tapez ce mot pour continuer",
            "Digitare questa parola per continuare",
        ],
        Key::Unpaired => [
            "not connected to a server",
            "mit keinem Server verbunden",
            "connecté à aucun serveur",
            "non collegato a un server",
        ],
        Key::Version => ["Version", "Version", "Version", "Versione"],
        Key::WaitingForServer => [
            "code accepted, waiting for the server",
            "Code angenommen, warte auf den Server",
            "code accepté, en attente du serveur",
            "codice accettato, in attesa del server",
        ],
        Key::WindowClosed => [
            "The code is no longer valid.",
            "Der Code gilt nicht mehr.",
            "Le code n'est plus valable.",
            "Il codice non è più valido.",
        ],
        Key::WindowOpen => [
            "waiting for a server",
            "wartet auf einen Server",
            "en attente d'un serveur",
            "in attesa di un server",
        ],
        Key::Workloads => ["Workloads", "Dienste", "Services", "Servizi"],
        Key::Yes => ["Yes", "Ja", "Oui", "Sì"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_read_back_by_its_code() {
        for language in Language::ALL {
            assert_eq!(
                Language::from_code(&format!("{}\n", language.code())),
                Some(language)
            );
        }
        assert_eq!(Language::from_code("xx"), None);
    }

    #[test]
    fn long_texts_fit_on_80_columns_in_every_language() {
        for key in [
            Key::DaemonDown,
            Key::DisconnectHint,
            Key::FirewallHint,
            Key::Close,
            Key::More,
        ] {
            for language in Language::ALL {
                assert!(language.say(key).chars().count() <= 78, "{key:?} {language:?}");
            }
        }
    }
}
