//! Drives the menu on a satellite's console as a person does: looks, moves the mark, presses Enter.

use std::time::Duration;

use anyhow::Context as _;

use crate::container::Container;
use crate::wait::until;

/// What a screen may take to change.
const SCREEN: Duration = Duration::from_secs(30);
/// Longer than any menu.
const MOVES: usize = 24;
/// The foot of the status page in English.
const HOME: &str = "Enter: menu";

/// Chooses the item of the menu that contains `item`.
///
/// # Errors
///
/// With the screen, if there is no such item.
pub async fn choose(satellite: &Container, item: &str) -> anyhow::Result<()> {
    satellite.shows(item, SCREEN).await?;
    for _ in 0..MOVES {
        let screen = satellite.capture().await?;
        let marked = marked(&screen);
        if marked.contains(item) {
            return satellite.send_keys(&["Enter"]).await;
        }
        satellite.send_keys(&["Down"]).await?;
        let moved = until("the mark to move", Duration::from_secs(5), async || {
            let screen = satellite.capture().await.ok()?;
            screen
                .lines()
                .any(|line| is_marked(line) && line != marked)
                .then_some(())
        });
        moved
            .await
            .with_context(|| format!("the console shows:\n{}", screen.trim_end()))?;
    }
    anyhow::bail!(
        "`{item}` cannot be chosen; the console shows:\n{}",
        satellite.capture().await?.trim_end()
    )
}

/// Goes to the status page from wherever the menu is.
///
/// # Errors
///
/// With the screen, if it does not get there.
pub async fn home(satellite: &Container) -> anyhow::Result<()> {
    let mut screen = String::new();
    let arrived = until("the status page", SCREEN, async || {
        screen = satellite.capture().await.ok()?;
        if screen.contains(HOME) {
            return Some(());
        }
        satellite.send_keys(&["Escape"]).await.ok()?;
        // An Escape is a key only after a moment of silence.
        tokio::time::sleep(Duration::from_millis(400)).await;
        None
    });
    arrived
        .await
        .with_context(|| format!("the console shows:\n{}", screen.trim_end()))
}

/// Opens the main menu, from wherever the menu is.
///
/// # Errors
///
/// With the screen, if it does not get there.
pub async fn main_menu(satellite: &Container) -> anyhow::Result<()> {
    home(satellite).await?;
    satellite.send_keys(&["Enter"]).await?;
    satellite.shows("Shut down", SCREEN).await?;
    Ok(())
}

/// Opens an entry of the main menu, from wherever the menu is.
///
/// # Errors
///
/// With the screen, if there is no such entry.
pub async fn open(satellite: &Container, entry: &str) -> anyhow::Result<()> {
    main_menu(satellite).await?;
    choose(satellite, entry).await
}

/// Reads the pairing code off the console; asks for one if none is shown.
///
/// # Errors
///
/// With the screen, if no code appears.
pub async fn pairing_code(satellite: &Container) -> anyhow::Result<String> {
    home(satellite).await?;
    let seen = async || satellite.capture().await.ok().as_deref().and_then(code_on);
    // A satellite that was just started offers one by itself.
    if let Ok(code) = until("a code by itself", Duration::from_secs(10), seen).await {
        return Ok(code);
    }
    let asked = async {
        open(satellite, "Connect to a server").await?;
        choose(satellite, "Show a code").await
    };
    if let Err(error) = asked.await {
        // On a slow machine the one that is offered may have come meanwhile, and the status page with it.
        return code_on(&satellite.capture().await?).ok_or(error);
    }
    let mut screen = String::new();
    let code = until("the code on the console", SCREEN, async || {
        screen = satellite.capture().await.unwrap_or_default();
        code_on(&screen)
    });
    let code = code.await;
    code.with_context(|| format!("the console shows:\n{}", screen.trim_end()))
}

/// The line of the mark.
#[must_use]
pub fn marked(screen: &str) -> String {
    screen
        .lines()
        .find(|line| is_marked(line))
        .unwrap_or_default()
        .to_owned()
}

fn is_marked(line: &str) -> bool {
    line.trim_start().starts_with('>')
}

/// The code that a screen shows: four groups of four of Crockford's base32.
#[must_use]
pub fn code_on(screen: &str) -> Option<String> {
    let words = screen.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let is_code = |word: &&str| {
        let groups: Vec<&str> = word.split('-').collect();
        groups.len() == 4
            && groups.iter().all(|group| {
                group.len() == 4
                    && group.bytes().all(|byte| {
                        byte.is_ascii_digit() || (byte.is_ascii_uppercase() && !b"ILOU".contains(&byte))
                    })
            })
    };
    words.into_iter().find(is_code).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_among_other_words() {
        let screen = "│ Code:  7K2M-QX4T-9ZBA-0CDE │\n fe80-1234 2026-11-22";
        assert_eq!(code_on(screen).as_deref(), Some("7K2M-QX4T-9ZBA-0CDE"));
        assert_eq!(code_on("abcd-efgh-jkmn-pqrs"), None);
        assert_eq!(code_on("OOOO-IIII-LLLL-UUUU"), None);
    }
}
