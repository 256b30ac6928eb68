//! What satellites and use cases report, on the page of a reader of another language.

use std::time::{Duration, Instant};

use satellite_proto::wire::management::v1 as wire;

use super::World;
use super::scripts::SCRIPT;
use super::stored::Stored;

/// As a run says it whose copy was refused by a server that has a reason of its own.
const ERROR: &str = "destination nas: the SFTP server nas:22 refuses the sign-in: the stars are <b>not</b> right; check user name and credentials";

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_told_in_the_readers_language_and_what_is_foreign_is_marked() {
    let dir = tempfile::tempdir().unwrap();
    let stored = Stored::open(&dir).await;
    stored.satellite("alpha").await;
    stored.central("pbx", "acme", ERROR).await;
    stored
        .central(
            "other",
            "acme",
            "the archive is damaged: the member at byte 7 of the content: its size is another",
        )
        .await;
    let world = World::in_directory(dir).await;
    world.add_user("anna", wire::WebRole::Administrator, &[]).await;
    let mut browser = world.signed_in("anna").await;
    let english = browser.get("/restores").await.text;
    assert!(english.contains(
        "the SFTP server nas:22 refuses the sign-in: the stars are &lt;b&gt;not&lt;/b&gt; right; check"
    ));
    assert!(
        !english.contains("lang=\"en\">the"),
        "in English nothing is foreign"
    );
    for (language, told, whole, after) in [
        (
            "de",
            "Ziel nas: der SFTP-Server nas:22 lehnt die Anmeldung ab: ",
            "das Archiv ist beschädigt: das Element bei Byte 7 des Inhalts: seine Grösse ist eine andere<",
            "; prüfen Sie Benutzername und Zugangsdaten",
        ),
        (
            "fr",
            "destination nas\u{202f}: le serveur SFTP nas:22 refuse la connexion\u{202f}: ",
            "l'archive est endommagée\u{202f}: l'élément à l'octet 7 du contenu\u{202f}: sa taille est différente<",
            "\u{202f}; vérifiez le nom d'utilisateur et les identifiants",
        ),
        (
            "it",
            "destinazione nas: il server SFTP nas:22 rifiuta l'accesso: ",
            "l'archivio è danneggiato: l'elemento al byte 7 del contenuto: la sua dimensione è diversa<",
            "; verifichi nome utente e credenziali",
        ),
    ] {
        browser.language = language;
        let foreign = "<span lang=\"en\">the stars are &lt;b&gt;not&lt;/b&gt; right</span>";
        for place in ["/restores", "/backups/of/Nightly%20pbx"] {
            let page = browser.get(place).await.text;
            let said = format!("{told}{foreign}{after}");
            assert!(page.contains(&said), "{language} {place}: {page}");
        }
        let page = browser.get("/backups/of/Nightly%20pbx").await.text;
        assert!(!page.contains("refuses the sign-in"), "{page}");
        let page = browser.get("/restores").await.text;
        assert!(page.contains(whole), "{language}: {page}");
    }
    // A use case's own error, and a name in it that would be a script.
    browser.language = "de";
    let page = browser.get("/satellites/nobody").await;
    assert_eq!(page.status, 404);
    let name: String = form_urlencoded::byte_serialize(SCRIPT.as_bytes()).collect();
    let page = browser.get(&format!("/satellites/{name}")).await;
    assert!(!page.text.contains("<script>alert"), "{}", page.text);
    // What the fleet finds out by itself.
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let page = browser.get("/satellites").await.text;
        if page.contains("Verbindung abgelehnt (Systemfehler 111)") {
            assert!(
                page.contains("ist nicht erreichbar") && !page.contains("Connection refused"),
                "{page}"
            );
            break;
        }
        assert!(Instant::now() < end, "{page}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.end().await;
}
