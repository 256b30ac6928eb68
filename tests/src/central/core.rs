//! Core data: a SQLite database of users, telephones, groups and chats, and configuration files of every awkward kind.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use rand::Rng as _;

use super::Maker;
use crate::command::{command, feed};

const FIRST: [&str; 12] = [
    "Anna",
    "Béla",
    "Chiara",
    "Dörte",
    "Émile",
    "Fatma",
    "Gianni",
    "Hüseyin",
    "Irène",
    "Jürgen",
    "Kateřina",
    "Łukasz",
];
const LAST: [&str; 10] = [
    "Müller", "Rossi", "Lefèvre", "Novák", "Yılmaz", "Schmidt", "Bianchi", "Moreau", "Weiß", "Kowalski",
];
const WORDS: [&str; 24] = [
    "please",
    "call",
    "the",
    "customer",
    "back",
    "about",
    "invoice",
    "tomorrow",
    "meeting",
    "moved",
    "to",
    "Thursday",
    "can",
    "you",
    "check",
    "line",
    "two",
    "thanks",
    "ordered",
    "telephone",
    "delivery",
    "late",
    "again",
    "sorry",
];

/// Makes about `bytes` of core data.
pub(super) async fn make(maker: &mut Maker<'_>, bytes: u64) -> anyhow::Result<()> {
    files(maker)?;
    let script = script(maker, bytes);
    let database = maker.root.join("core/pbx.sqlite");
    let mut sqlite = command("sqlite3");
    sqlite.arg("-bail").arg(&database);
    feed(sqlite, script.into_bytes()).await?;
    let size = database.metadata()?.len();
    std::fs::File::options()
        .write(true)
        .open(&database)?
        .set_modified(super::moment(86_400))?;
    maker.done += size;
    Ok(())
}

fn script(maker: &mut Maker<'_>, bytes: u64) -> String {
    let mut sql = String::from(
        "PRAGMA journal_mode=OFF;\nBEGIN;\n\
         CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT, mail TEXT, extension TEXT);\n\
         CREATE TABLE telephones(mac TEXT PRIMARY KEY, model TEXT, owner INTEGER REFERENCES users(id));\n\
         CREATE TABLE groups(id INTEGER PRIMARY KEY, name TEXT, strategy TEXT);\n\
         CREATE TABLE chats(id INTEGER PRIMARY KEY, sent INTEGER, sender INTEGER, receiver INTEGER, text TEXT);\n",
    );
    let users = (bytes / 20_000).clamp(20, 5_000);
    for id in 0..users {
        let name = format!("{} {}", maker.pick(&FIRST), maker.pick(&LAST));
        let extension = 100 + id;
        let _ = writeln!(
            sql,
            "INSERT INTO users VALUES({id},'{name}','user{id}@example.org','{extension}');\n\
             INSERT INTO telephones VALUES('02:00:00:00:{:02x}:{:02x}','T{}',{id});",
            id / 256,
            id % 256,
            maker.rng.random_range(40..60),
        );
    }
    for (id, name) in ["Support", "Sales", "Reception", "O'Brien & Söhne"]
        .iter()
        .enumerate()
    {
        let _ = writeln!(
            sql,
            "INSERT INTO groups VALUES({id},'{}','ring-all');",
            name.replace('\'', "''")
        );
    }
    let mut id = 0_u64;
    while (sql.len() as u64) < bytes {
        let words: Vec<&str> = (0..maker.rng.random_range(3..30))
            .map(|_| maker.pick(&WORDS))
            .collect();
        let (sender, receiver) = (maker.rng.random_range(0..users), maker.rng.random_range(0..users));
        let sent = super::EPOCH_SECONDS + id * 37;
        let _ = writeln!(
            sql,
            "INSERT INTO chats VALUES({id},{sent},{sender},{receiver},'{}');",
            words.join(" ")
        );
        id += 1;
    }
    sql.push_str("COMMIT;\n");
    sql
}

/// Configuration files, among them what careless tools lose: modes, an empty file, links, names out of ASCII.
fn files(maker: &mut Maker<'_>) -> anyhow::Result<()> {
    for (number, name) in ["sip", "routing", "queues", "provisioning"].iter().enumerate() {
        let mut text = format!("; {name}.conf\n");
        for line in 0..400 {
            let _ = writeln!(
                text,
                "[{name}-{line}]\ncontext={}\ntimeout={}",
                maker.pick(&WORDS),
                maker.rng.random_range(5..120)
            );
        }
        maker.file(
            &format!("core/config/{name}.conf"),
            text.as_bytes(),
            number as u64 * 3600,
        )?;
    }
    maker.file(
        "core/config/Ansage für Müller & Söhne.txt",
        "Grüezi\n".as_bytes(),
        10,
    )?;
    maker.file("core/config/empty", b"", 20)?;
    maker.file("core/keys/provisioning.pem", b"not a real key\n", 30)?;
    maker.file("core/cache/thumbnails.bin", &[7; 4096], 40)?;
    let key = maker.root.join("core/keys/provisioning.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600))?;
    std::fs::set_permissions(
        maker.root.join("core/keys"),
        std::fs::Permissions::from_mode(0o700),
    )?;
    std::os::unix::fs::symlink("sip.conf", maker.root.join("core/config/current.conf"))?;
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&key, Some(2001), Some(2002))?;
    }
    Ok(())
}
