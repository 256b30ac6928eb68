//! What the steps are called by which a destination is tried, on the page and on the command line.

use satellite_proto::wire::backup::v1::TestStepName;

use super::Text;

crate::language::texts! { pub(super),
    UNKNOWN = "unknown" | "unbekannt" | "inconnu" | "sconosciuto";
    DESCRIPTION = "Description" | "Beschreibung" | "Description" | "Descrizione";
    CONNECT = "Connect" | "Verbinden" | "Connexion" | "Connessione";
    HOST_KEY = "Server's key" | "Schlüssel des Servers" | "Clé du serveur" | "Chiave del server";
    SIGN_IN = "Sign in" | "Anmelden" | "Authentification" | "Accesso";
    DIRECTORY = "Directory" | "Verzeichnis" | "Répertoire" | "Cartella";
    WRITE = "Write" | "Schreiben" | "Écriture" | "Scrittura";
    READ_BACK = "Read back" | "Zurücklesen" | "Relecture" | "Rilettura";
    REMOVE = "Remove" | "Löschen" | "Suppression" | "Rimozione";
}

/// What a step is called.
#[must_use]
pub fn step_name(name: TestStepName) -> Text {
    match name {
        TestStepName::Unspecified => UNKNOWN,
        TestStepName::Description => DESCRIPTION,
        TestStepName::Connect => CONNECT,
        TestStepName::HostKey => HOST_KEY,
        TestStepName::SignIn => SIGN_IN,
        TestStepName::Directory => DIRECTORY,
        TestStepName::Write => WRITE,
        TestStepName::ReadBack => READ_BACK,
        TestStepName::Remove => REMOVE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Language;

    #[test]
    fn each_step_has_a_name_of_its_own_in_each_language() {
        for language in Language::ALL {
            let mut names: Vec<_> = ALL.iter().map(|(_, text)| language.say(*text)).collect();
            assert!(names.iter().all(|name| !name.is_empty()));
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all);
        }
        assert_eq!(Language::De.say(step_name(TestStepName::SignIn)), "Anmelden");
    }
}
