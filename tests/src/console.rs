//! Drives the menu on a satellite's console as a person does: looks, moves the mark, presses Enter.

use std::time::Duration;

use anyhow::Context as _;

use crate::container::Container;
use crate::wait::until;

/// What a screen may take to change.
const SCREEN: Duration = Duration::from_secs(30);
/// Longer than any menu.
const MOVES: usize = 24;

/// Chooses the item of the menu that contains `item`.
///
/// # Errors
///
/// With the screen, if there is no such item.
pub async fn choose(satellite: &Container, item: &str) -> anyhow::Result<()> {
    satellite.shows(item, SCREEN).await?;
    for _ in 0..MOVES {
        let screen = satellite.capture().await?;
        let marked = screen
            .lines()
            .find(|line| is_marked(line))
            .unwrap_or_default()
            .to_owned();
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

/// Leaves a page that waits for a key; the main menu stays as it is.
///
/// # Errors
///
/// If the console does not run.
pub async fn main_menu(satellite: &Container) -> anyhow::Result<()> {
    if satellite.capture().await?.contains("Press any key") {
        satellite.send_keys(&["Space"]).await?;
    }
    Ok(())
}

/// Opens the pairing window on the console and reads the code off it.
///
/// # Errors
///
/// With the screen, if no code appears.
pub async fn pairing_code(satellite: &Container) -> anyhow::Result<String> {
    if let Some(code) = satellite.capture().await.ok().as_deref().and_then(code_on) {
        return Ok(code);
    }
    main_menu(satellite).await?;
    choose(satellite, "Connect to a server").await?;
    let mut screen = String::new();
    let code = until("the code on the console", SCREEN, async || {
        screen = satellite.capture().await.unwrap_or_default();
        code_on(&screen)
    });
    let code = code.await;
    code.with_context(|| format!("the console shows:\n{}", screen.trim_end()))
}

fn is_marked(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with('>') || line.starts_with('❯')
}

/// Four groups of four of Crockford's base32.
fn code_on(screen: &str) -> Option<String> {
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
