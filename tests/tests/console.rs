//! The menu as a person has it: on the console of a booted satellite through every entry, and in a terminal with a state
//! directory that is full, read-only or damaged.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use e2e::command::run;
use e2e::console;
use e2e::lab::SATELLITE;
use e2e::network::write;
use e2e::scratch::Scratch;
use e2e::terminal::Terminal;
use e2e::wait::until;
use satellite_proto::wire::management::v1::Reachability;

const SOON: Duration = Duration::from_secs(30);
/// What the server may take to hear of something.
const SETTLED: Duration = Duration::from_secs(60);

/// Every entry of the menu, and what its first page shows.
const ENTRIES: [(&str, &str); 14] = [
    ("Connect to a server", "Show a code to enter on the server"),
    ("Network", "Change the settings"),
    ("Test the connection", "Port of the bridge"),
    ("Logs", "The whole system"),
    ("Support bundle to a USB disk", "No USB disk is there"),
    ("Date and time", "Set the clock"),
    ("Language and keyboard", "DE, AT (QWERTZ)"),
    ("Console PIN", "The same again"),
    ("Restore last good settings", "last good ones"),
    ("Reset the firewall", "type RESET"),
    ("Disconnect from the server", "type DISCONNECT"),
    ("Factory reset", "type DELETE"),
    ("Restart", "Restart the machine now?"),
    ("Shut down", "Shut the machine down now?"),
];

#[tokio::test]
async fn every_entry_of_the_menu_opens_on_a_booted_satellite_and_leads_back() {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    let satellite = lab.satellite();
    let pid = satellite
        .main_pid("satellite-console@console.service")
        .await
        .unwrap()
        .unwrap();
    console::pairing_code(&satellite).await.unwrap();
    for (entry, shown) in ENTRIES {
        console::open(&satellite, entry).await.unwrap();
        if entry == "Language and keyboard" {
            // The choice goes round: the third layout is two to the right.
            satellite.shows("Keyboard", SOON).await.unwrap();
            satellite.send_keys(&["Down", "Right", "Right"]).await.unwrap();
        }
        satellite.shows(shown, SOON).await.unwrap();
    }
    // A log is read to its end, searched and left.
    console::open(&satellite, "Logs").await.unwrap();
    console::choose(&satellite, "The bridge").await.unwrap();
    satellite
        .shows("newest lines, new ones appear", SOON)
        .await
        .unwrap();
    satellite.send_keys(&["/", "zzzz", "Enter"]).await.unwrap();
    satellite.shows("`zzzz` is not found", SOON).await.unwrap();
    satellite.send_keys(&["q"]).await.unwrap();
    // A wrong word changes nothing.
    console::open(&satellite, "Factory reset").await.unwrap();
    satellite.shows("type DELETE", SOON).await.unwrap();
    satellite.send_keys(&["DELET", "Enter"]).await.unwrap();
    satellite.shows("Nothing was changed", SOON).await.unwrap();
    assert!(
        satellite
            .exec(&["test", "-e", "/var/.factory-reset"])
            .await
            .is_err()
    );
    // The right one does.
    console::open(&satellite, "Reset the firewall").await.unwrap();
    satellite.shows("type RESET", SOON).await.unwrap();
    satellite.send_keys(&["RESET", "Enter"]).await.unwrap();
    satellite
        .shows("The rules of delivery are in force", SOON)
        .await
        .unwrap();
    console::home(&satellite).await.unwrap();
    let after = satellite
        .main_pid("satellite-console@console.service")
        .await
        .unwrap();
    assert_eq!(after, Some(pid), "the menu was started again meanwhile");
}

#[tokio::test]
async fn the_menu_of_a_booted_satellite_works_while_the_bridge_is_down() {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    let satellite = lab.satellite();
    let identity = satellite
        .exec(&["/usr/lib/satellite/satellite-bridge", "status"])
        .await
        .unwrap();
    let fingerprint = identity
        .lines()
        .find_map(|line| line.strip_prefix("Fingerprint"))
        .unwrap()
        .trim()
        .to_owned();
    satellite
        .exec(&["systemctl", "stop", "satellite-bridge.service"])
        .await
        .unwrap();
    let screen = satellite.shows("The bridge does not answer", SOON).await.unwrap();
    assert!(screen.contains(&fingerprint), "{screen}");
    // The first page of a menu that was just started has not yet looked at the disk.
    satellite.shows("not connected to a server", SOON).await.unwrap();
    console::open(&satellite, "Logs").await.unwrap();
    console::choose(&satellite, "The bridge").await.unwrap();
    satellite
        .shows("newest lines, new ones appear", SOON)
        .await
        .unwrap();
    console::open(&satellite, "Connect to a server").await.unwrap();
    satellite.shows("This needs the bridge", SOON).await.unwrap();
    console::open(&satellite, "Reset the firewall").await.unwrap();
    satellite.shows("type RESET", SOON).await.unwrap();
    satellite.send_keys(&["reset", "Enter"]).await.unwrap();
    satellite
        .shows("The rules of delivery are in force", SOON)
        .await
        .unwrap();
    change_host_name(&lab, "renamed-1", "Enter", "The new settings are kept").await;
    let name = satellite.exec(&["hostname"]).await.unwrap();
    assert_eq!(name.trim(), "renamed-1");
    change_host_name(&lab, "renamed-2", "Escape", "The old settings are back").await;
    let name = satellite.exec(&["hostname"]).await.unwrap();
    assert_eq!(name.trim(), "renamed-1");
}

/// Through the form, what the network says to it, and the countdown, which `key` ends.
async fn change_host_name(lab: &Scratch, name: &str, key: &str, outcome: &str) {
    let satellite = lab.satellite();
    console::open(&satellite, "Network").await.unwrap();
    console::choose(&satellite, "Change the settings").await.unwrap();
    satellite.shows("Try and apply", SOON).await.unwrap();
    // A name that is none is told while it is typed.
    satellite.send_keys(&["DC", "-"]).await.unwrap();
    satellite.shows("1 to 63 of the letters", SOON).await.unwrap();
    satellite.send_keys(&["DC", name, "Up", "Enter"]).await.unwrap();
    let counting = satellite.shows(" s left", Duration::from_secs(15)).await;
    if counting.is_err() {
        console::choose(&satellite, "Apply them all the same")
            .await
            .unwrap();
        satellite.shows(" s left", SOON).await.unwrap();
    }
    satellite.send_keys(&[key]).await.unwrap();
    satellite.shows(outcome, SOON).await.unwrap();
}

#[tokio::test]
async fn a_broken_network_is_told_in_plain_words_and_leaves_the_menu_as_it_is() {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    let (satellite, side) = (lab.satellite(), lab.lan.server_side());
    console::home(&satellite).await.unwrap();
    run("ip", &["-n", &side, "link", "set", "lan0", "down"])
        .await
        .unwrap();
    satellite.shows("eth0 no cable", SOON).await.unwrap();
    console::open(&satellite, "Test the connection").await.unwrap();
    satellite.shows("No cable is connected", SOON).await.unwrap();
    // The rest of the menu is there as ever.
    console::open(&satellite, "Network").await.unwrap();
    satellite.shows("no cable", SOON).await.unwrap();
    change_host_name(&lab, "unplugged", "Enter", "The new settings are kept").await;

    // Plugged in again, with a gateway that is silent.
    run("ip", &["-n", &side, "link", "set", "lan0", "up"])
        .await
        .unwrap();
    console::home(&satellite).await.unwrap();
    satellite.shows("eth0 connected", SOON).await.unwrap();
    lab.address().await.unwrap();
    let mut deaf = lab.lan.at_server("sh");
    deaf.args(["-c", "echo 1 >/proc/sys/net/ipv4/icmp_echo_ignore_all"]);
    e2e::command::stdout_of(deaf, SOON).await.unwrap();
    let advice = until("the gateway to be missed", SOON, async || {
        console::open(&satellite, "Test the connection").await.ok()?;
        satellite.shows("The gateway does not answer", SOON).await.ok()
    });
    let page = advice.await.unwrap();
    assert!(page.contains("[ ok ]   Cable"), "{page}");
    assert!(page.contains("[ ok ]   Port of the bridge"), "{page}");
}

#[tokio::test]
async fn last_good_settings_come_back_and_an_open_change_is_taken_back() {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    let satellite = lab.satellite();
    let name = async || satellite.exec(&["hostname"]).await.unwrap().trim().to_owned();
    assert_eq!(name().await, "satellite");
    console::open(&satellite, "Restore last good settings")
        .await
        .unwrap();
    satellite.shows("the last good ones", SOON).await.unwrap();

    // A change that somebody else has begun.
    write(&satellite.var().join("settings.json"), r#"{"host-name":"begun"}"#).unwrap();
    let apply = [
        "/usr/lib/satellite/satellite-bridge",
        "network",
        "apply",
        "/var/settings.json",
    ];
    satellite.exec(&apply).await.unwrap();
    until("the change to be in force", SOON, async || {
        (name().await == "begun").then_some(())
    })
    .await
    .unwrap();
    restore(&lab).await;
    satellite
        .shows("The open change was taken back", SOON)
        .await
        .unwrap();
    assert_eq!(name().await, "satellite");

    // Nothing is open: back to what was confirmed before, which has to be confirmed again.
    change_host_name(&lab, "renamed", "Enter", "The new settings are kept").await;
    assert_eq!(name().await, "renamed");
    console::home(&satellite).await.unwrap();
    satellite.shows("Satellite renamed", SOON).await.unwrap();
    restore(&lab).await;
    satellite.shows("that were confirmed before", SOON).await.unwrap();
    satellite.send_keys(&["Down", "Enter"]).await.unwrap();
    satellite.shows(" s left", SOON).await.unwrap();
    satellite.send_keys(&["Enter"]).await.unwrap();
    satellite.shows("The new settings are kept", SOON).await.unwrap();
    assert_eq!(name().await, "satellite");
}

/// Types the word for the last good settings.
async fn restore(lab: &Scratch) {
    let satellite = lab.satellite();
    console::open(&satellite, "Restore last good settings")
        .await
        .unwrap();
    satellite.shows("type RESET", SOON).await.unwrap();
    satellite.send_keys(&["RESET", "Enter"]).await.unwrap();
}

#[tokio::test]
async fn who_disconnects_at_the_console_has_told_the_server_and_can_pair_again() {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    lab.serve().await.unwrap();
    lab.pair(&["--bare"]).await.unwrap();
    lab.server.converged(SATELLITE, SETTLED).await.unwrap();
    let satellite = lab.satellite();
    console::open(&satellite, "Disconnect from the server")
        .await
        .unwrap();
    let asked = satellite.shows("type DISCONNECT", SOON).await.unwrap();
    assert!(asked.contains("Lost: the connection"), "{asked}");
    satellite.send_keys(&["DISCONNECT", "Enter"]).await.unwrap();
    until("the server to hear of it", SETTLED, async || {
        let known = lab.server.satellite(SATELLITE).await?;
        (known.reachability() == Reachability::Disconnected).then_some(())
    })
    .await
    .unwrap();
    console::home(&satellite).await.unwrap();
    satellite.shows("not connected to a server", SOON).await.unwrap();
    // The server keeps what it knew of it until somebody says otherwise.
    let words = ["satellite", "forget", SATELLITE, "--yes"];
    let _ = lab.server.try_cli(&words).await.unwrap();
    lab.pair(&["--bare"]).await.unwrap();
    lab.server.converged(SATELLITE, SETTLED).await.unwrap();
}

#[tokio::test]
async fn no_key_no_paste_and_no_size_leaves_the_menu() {
    let dir = tempfile::tempdir().unwrap();
    let menu = Terminal::start("keys", dir.path(), None).await.unwrap();
    let pid = menu.pid().await.unwrap();
    for key in [
        "C-c", "C-z", "C-\\", "C-d", "C-s", "C-q", "C-]", "C-@", "F1", "F12", "M-x",
    ] {
        menu.press(&[key, key, key]).await.unwrap();
    }
    menu.paste("\u{1b}]0;title\u{7}\u{1b}[2J\u{1b}[?1049h\u{1b}P$q\u{1b}\\\u{1b}c")
        .await
        .unwrap();
    menu.paste(&";reboot -f #".repeat(2_000)).await.unwrap();
    for (width, height) in [(20, 5), (200, 60), (1, 1), (80, 24)] {
        menu.resize(width, height).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    // In a question too.
    for _ in 0..3 {
        menu.press(&["Escape"]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    menu.shows("Enter: menu").await.unwrap();
    menu.press(&["Enter"]).await.unwrap();
    menu.shows("Shut down").await.unwrap();
    menu.press(&["8", "Enter"]).await.unwrap();
    menu.shows("The same again").await.unwrap();
    menu.press(&["C-c", "C-z", "C-\\", "C-d"]).await.unwrap();
    menu.paste(&"x".repeat(20_000)).await.unwrap();
    menu.press(&["Down"]).await.unwrap();
    menu.shows("The two are not the same").await.unwrap();
    assert_eq!(menu.pid().await.unwrap(), pid);
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(!state.contains(") T "), "the menu was stopped");
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    assert_eq!(children, "", "the menu started something");
}

#[tokio::test]
async fn a_full_disk_is_said_and_the_menu_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let menu = Terminal::start("full", dir.path(), Some(1)).await.unwrap();
    // The disk takes not one byte more.
    assert!(write(&menu.state().join("filler"), vec![b'x'; 2 << 20]).is_err());
    menu.shows("The data disk is full").await.unwrap();
    italian_until_the_next_start(&menu).await;
}

#[tokio::test]
async fn a_read_only_disk_is_said_and_the_menu_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let menu = Terminal::start("read-only", dir.path(), Some(64)).await.unwrap();
    menu.make_read_only().await.unwrap();
    menu.shows("The data disk cannot be written").await.unwrap();
    italian_until_the_next_start(&menu).await;
}

/// The language changes although it cannot be stored.
async fn italian_until_the_next_start(menu: &Terminal) {
    menu.press(&["l"]).await.unwrap();
    menu.shows("Keyboard").await.unwrap();
    menu.press(&["Left"]).await.unwrap();
    menu.shows("Tastiera").await.unwrap();
    menu.press(&["Down", "Down", "Enter"]).await.unwrap();
    menu.shows("Vale solo fino al prossimo avvio").await.unwrap();
    menu.press(&["Space"]).await.unwrap();
    menu.shows("Enter: menu    L: English, Deutsch, Français")
        .await
        .unwrap();
    menu.press(&["Enter"]).await.unwrap();
    menu.shows("Collegare a un server").await.unwrap();
}

#[tokio::test]
async fn damaged_data_is_said_and_the_menu_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    for file in [
        "pairing.json",
        "language",
        "keyboard",
        "network/confirmed.json",
        "change/open.json",
    ] {
        let path = state.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        write(&path, b"\0\xff{\x1b[2J").unwrap();
    }
    std::fs::create_dir_all(state.join("identity/cert.pem")).unwrap();
    let menu = Terminal::start("damaged", dir.path(), None).await.unwrap();
    menu.shows("Data of the satellite is damaged").await.unwrap();
    menu.press(&["Enter"]).await.unwrap();
    menu.shows("Factory reset").await.unwrap();
    menu.press(&["4", "Enter"]).await.unwrap();
    menu.shows("The kernel").await.unwrap();
}

#[tokio::test]
async fn a_pin_closes_the_menu_and_wrong_ones_make_it_wait() {
    let dir = tempfile::tempdir().unwrap();
    let menu = Terminal::start("pin", dir.path(), None).await.unwrap();
    menu.press(&["Enter"]).await.unwrap();
    menu.shows("Shut down").await.unwrap();
    menu.press(&["8", "Enter"]).await.unwrap();
    menu.shows("The same again").await.unwrap();
    menu.press(&["24681012", "Down", "24681012", "Down", "Enter"])
        .await
        .unwrap();
    menu.shows("From now on the menu asks").await.unwrap();
    menu.press(&["Space"]).await.unwrap();
    menu.shows("Shut down").await.unwrap();
    menu.press(&["Escape"]).await.unwrap();
    menu.shows("Enter: menu").await.unwrap();
    menu.press(&["Enter"]).await.unwrap();
    let screen = menu.shows("Forgotten?").await.unwrap();
    assert!(!screen.contains("Shut down"), "{screen}");
    for _ in 0..5 {
        menu.shows("Accept").await.unwrap();
        menu.press(&["wrong1", "Enter"]).await.unwrap();
        menu.shows("This is not the PIN").await.unwrap();
        menu.press(&["Space"]).await.unwrap();
    }
    menu.shows("Too many wrong PINs").await.unwrap();
}
