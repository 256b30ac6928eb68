//! A central that keeps its data in PostgreSQL, with the shipped profile and a real cluster: dumped while a writer is busy,
//! brought back into a cluster that has nothing.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use e2e::command::{DEADLINE, command, run, stdout_of};
use e2e::network::write;
use e2e::wait::until;
use tokio::process::{Child, Command};

use crate::world::{SETTLED, World, in_place, json, newest, said};

/// What belongs together changes in one transaction: accounts add up to nothing, and each is the sum of its entries.
const SCHEMA: &str = "
    CREATE TABLE account (id int PRIMARY KEY, owner text NOT NULL, balance bigint NOT NULL DEFAULT 0);
    CREATE TABLE entry (id bigserial PRIMARY KEY, account int NOT NULL REFERENCES account, amount bigint NOT NULL,
                        note bytea NOT NULL DEFAULT '\\x00ff5c0a27');
    CREATE TABLE stop (now bool);
    CREATE VIEW debtor AS SELECT owner FROM account WHERE balance < 0;
    CREATE INDEX ON entry (account);
    INSERT INTO account SELECT n, 'Zoë \"' || n || '\" Müller' FROM generate_series(1, 100) n;
    INSERT INTO entry (account, amount) SELECT n % 100 + 1, sign(n % 200 - 99.5) FROM generate_series(0, 99999) n;
    UPDATE account a SET balance = (SELECT sum(amount) FROM entry e WHERE e.account = a.id);
    SELECT lo_from_bytea(4242, decode(repeat('00ff0a5c', 50000), 'hex'));
    COMMENT ON TABLE entry IS 'it''s what was moved';";

const WRITER: &str = "
    DO $$ DECLARE a int; b int; x bigint; BEGIN
      LOOP
        a := 1 + floor(random() * 100); b := 1 + floor(random() * 100); x := floor(random() * 1000);
        UPDATE account SET balance = balance - x WHERE id = a;
        UPDATE account SET balance = balance + x WHERE id = b;
        INSERT INTO entry (account, amount) VALUES (a, -x), (b, x);
        COMMIT;
        EXIT WHEN EXISTS (SELECT FROM stop);
      END LOOP;
    END $$";

const WRONG: &str = "SELECT count(*) FROM account a
    WHERE balance <> (SELECT coalesce(sum(amount), 0) FROM entry e WHERE e.account = a.id)";

/// A cluster of its own, which only its socket leads to.
struct Cluster {
    dir: tempfile::TempDir,
    programs: PathBuf,
    _server: Child,
}

impl Cluster {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        run("chown", &["postgres", &dir.path().display().to_string()])
            .await
            .unwrap();
        let versions = std::fs::read_dir("/usr/lib/postgresql").unwrap();
        let versions = versions.map(|entry| entry.unwrap().path().join("bin"));
        let programs = versions.filter(|bin| bin.join("initdb").exists()).max().unwrap();
        let data = dir.path().join("data");
        let mut make = as_postgres(&programs.join("initdb"));
        make.args([
            "--auth-local=peer",
            "--auth-host=reject",
            "--encoding=UTF8",
            "--no-sync",
            "--pgdata",
        ]);
        make.arg(&data);
        stdout_of(make, DEADLINE).await.unwrap();
        // Not by `runuser`, which would stay between us and it.
        let mut server = command("setpriv");
        server.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]);
        server.arg(programs.join("postgres")).arg("-D").arg(&data);
        let directory = format!("unix_socket_directories={}", dir.path().display());
        for setting in ["listen_addresses=", "fsync=off", &directory] {
            server.args(["-c", setting]);
        }
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let server = server.stderr(log).spawn().unwrap();
        let cluster = Self {
            dir,
            programs,
            _server: server,
        };
        let up = until("PostgreSQL to answer", SETTLED, async || {
            stdout_of(cluster.psql("postgres", "SELECT 1"), DEADLINE)
                .await
                .ok()
        });
        up.await.unwrap();
        cluster
    }

    fn program(&self, name: &str) -> Command {
        let mut program = as_postgres(&self.programs.join(name));
        program.env("PGHOST", self.dir.path());
        program
    }

    fn psql(&self, database: &str, text: &str) -> Command {
        let mut psql = self.program("psql");
        psql.args([
            "--no-psqlrc",
            "--no-align",
            "--tuples-only",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
        ]);
        psql.args(["--dbname", database, "--command", text]);
        psql
    }

    async fn ask(&self, text: &str) -> String {
        let answer = stdout_of(self.psql("pbx", text), DEADLINE).await.unwrap();
        answer.trim().to_owned()
    }

    async fn entries(&self) -> u64 {
        self.ask("SELECT count(*) FROM entry").await.parse().unwrap()
    }

    /// All of a dump, or of the database, as text.
    async fn told(&self, dump: Option<&Path>) -> String {
        let file = match dump {
            Some(file) => file.to_owned(),
            None => {
                let file = self.dir.path().join("again.dump");
                let mut dump = self.program("pg_dump");
                dump.args(["--format=custom", "--file"]).arg(&file).arg("pbx");
                stdout_of(dump, DEADLINE).await.unwrap();
                file
            }
        };
        let mut tell = command(self.programs.join("pg_restore"));
        tell.args(["--create", "--file=-"]).arg(&file);
        let text = stdout_of(tell, DEADLINE).await.unwrap();
        // Comments say when it was made; a word that guards each text is drawn by lot.
        let counts = |line: &&str| !line.starts_with("--") && !line.contains("restrict ");
        text.lines().filter(counts).collect::<Vec<_>>().join("\n")
    }
}

fn as_postgres(program: &Path) -> Command {
    let mut command = command("runuser");
    command
        .current_dir("/")
        .args(["-u", "postgres", "--"])
        .arg(program);
    command
}

/// The shipped profile, for this cluster and a directory of this test.
fn profile(world: &World, cluster: &Cluster) -> String {
    let shipped =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/config/centrals/postgresql-pbx.toml");
    let mut text = std::fs::read_to_string(shipped).unwrap();
    for program in ["pg_dumpall", "pg_dump", "psql", "pg_restore"] {
        let here = format!("\"{program}\", \"--host={}\",", cluster.dir.path().display());
        let word = format!("\"{program}\",");
        assert_eq!(text.matches(&word).count(), 1, "{program}");
        text = text.replace(&word, &here);
    }
    text.replace("/etc/pbx", &world.at("etc").display().to_string())
}

async fn adopt(world: &World, cluster: &Cluster) {
    let file = world.at("pbx.toml");
    write(&file, profile(world, cluster)).unwrap();
    let file = file.display().to_string();
    let add = ["central", "add", &file, "--satellite", "server", "--replace"];
    said(world, &add).await;
}

#[tokio::test]
async fn a_database_that_is_written_to_is_dumped_and_comes_back_whole_into_an_empty_cluster() {
    let (world, first) = tokio::join!(World::new(), Cluster::new());
    for text in [
        "CREATE ROLE pbx CONNECTION LIMIT 7",
        "CREATE DATABASE pbx OWNER pbx",
    ] {
        stdout_of(first.psql("postgres", text), DEADLINE).await.unwrap();
    }
    first.ask(&format!("SET ROLE pbx; {SCHEMA}")).await;
    write(&world.at("etc/pbx.conf"), "anything").unwrap();
    adopt(&world, &first).await;
    let create = "backup config create Phone --central postgresql-pbx --data-set core --destination disk";
    said(&world, &create.split(' ').collect::<Vec<_>>()).await;

    let writer = tokio::spawn(stdout_of(first.psql("pbx", WRITER), SETTLED));
    let begun = until("the writer to write", SETTLED, async || {
        Some(first.entries().await).filter(|count| *count > 101_000)
    });
    let before = begun.await.unwrap();
    said(&world, &["backup", "run", "Phone"]).await;
    let after = first.entries().await;
    first.ask("INSERT INTO stop VALUES (true)").await;
    writer.await.unwrap().unwrap();
    let run = newest(&world).await;
    assert_eq!(run["state"], "succeeded", "{run}");
    let archive = run["archive_name"].as_str().unwrap().to_owned();

    // The files as they are, and the text that they are.
    let files = world.at("files");
    said(
        &world,
        &[
            "backup",
            "restore",
            &archive,
            "--to",
            &files.display().to_string(),
        ],
    )
    .await;
    let wanted = first.told(Some(&files.join("core/pbx.dump"))).await;

    // A cluster without anything, known by the same profile.
    drop(first);
    let second = Cluster::new().await;
    adopt(&world, &second).await;
    std::fs::remove_file(world.at("etc/pbx.conf")).unwrap();
    let restore = in_place(&archive);
    let unsafe_restore = [&restore[..], &["--no-safety-backup"]].concat();
    said(&world, &unsafe_restore).await;
    let dumped = second.entries().await;
    assert!(before <= dumped && dumped <= after, "{before} {dumped} {after}");
    assert!(after > before, "nothing was written during the backup");
    println!("entries before, in, and after the backup: {before}, {dumped}, {after}");
    is_whole(&second, &wanted).await;
    assert!(world.at("etc/pbx.conf").exists());
    let role = "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'pbx'";
    assert_eq!(second.ask(role).await, "7");

    into_one_that_is_used(&world, &second, (&archive, &wanted)).await;
    let restores = json(&world, &["backup", "restores"]).await;
    let outcomes: Vec<_> = restores
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["outcome"])
        .collect();
    assert_eq!(
        outcomes,
        ["succeeded", "failed", "succeeded", "succeeded"],
        "{restores}"
    );
}

/// Into a cluster that has something else, first while somebody uses it.
async fn into_one_that_is_used(world: &World, second: &Cluster, (archive, wanted): (&str, &str)) {
    let restore = ["backup", "restore", archive, "--in-place", "--overwrite", "--yes"];
    // Told why not, nothing is lost, and once it is free everything is as it was.
    second
        .ask("DELETE FROM entry; UPDATE account SET balance = 1")
        .await;
    let user = tokio::spawn(stdout_of(second.psql("pbx", "SELECT pg_sleep(600)"), SETTLED));
    let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'";
    let asleep = until("somebody to use the database", SETTLED, async || {
        (second.ask(sleeps).await == "1").then_some(())
    });
    asleep.await.unwrap();
    let refused = world.cli(&restore).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("is being accessed by other users"),
        "{refused:?}"
    );
    assert_eq!(second.ask("SELECT sum(balance) FROM account").await, "100");
    second
        .ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND pid <> pg_backend_pid()")
        .await;
    assert!(user.await.unwrap().is_err());
    said(world, &restore).await;
    is_whole(second, wanted).await;
}

async fn is_whole(cluster: &Cluster, wanted: &str) {
    assert_eq!(cluster.ask(WRONG).await, "0");
    assert_eq!(cluster.ask("SELECT sum(balance) FROM account").await, "0");
    assert_eq!(cluster.ask("SELECT length(lo_get(4242))").await, "200000");
    let told = cluster.told(None).await;
    let differs = told.lines().zip(wanted.lines()).find(|(a, b)| a != b);
    assert!(told == wanted, "{differs:?}");
}
