//! Asks a person at the terminal.

use std::io::IsTerminal;
use std::path::Path;

use dialoguer::{Confirm, Input, MultiSelect, Password, Select};

use super::{CliError, read_text, render, texts};

/// Whether there is somebody to ask.
pub(super) fn is_possible() -> bool {
    std::io::stdin().is_terminal() && render::is_watched()
}

/// The pairing code: from the argument (`-`: from stdin), a file, or asked. The code is shown while it is typed: it is
/// short-lived, used once, and read off another screen.
pub(super) fn code(argument: Option<&str>, file: Option<&Path>) -> Result<String, CliError> {
    if let Some(path) = file {
        return Ok(read_text(path)?.trim().to_owned());
    }
    match argument {
        Some("-") => {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map_err(CliError::failed)?;
            Ok(line.trim().to_owned())
        }
        Some(code) => {
            render::warning(texts::CODE_IN_ARGV.say());
            Ok(code.to_owned())
        }
        None if is_possible() => Input::new()
            .with_prompt(texts::ASK_CODE.say())
            .interact_text()
            .map_err(CliError::failed),
        None => Err(CliError::Usage(
            "there is nobody to ask for the code: use --code-file or --code -".to_owned(),
        )),
    }
}

/// Yes or no; yes without asking if it was said before or there is nobody to ask.
pub(super) fn confirm(question: &str, said: bool) -> Result<bool, CliError> {
    if said || !is_possible() {
        return Ok(true);
    }
    Confirm::new()
        .with_prompt(texts::told(question))
        .default(false)
        .interact()
        .map_err(CliError::failed)
}

/// Like [`confirm`], for what cannot be undone: without a person, `--yes` is needed.
pub(super) fn confirm_loss(question: &str, said: bool) -> Result<(), CliError> {
    if !said && !is_possible() {
        return Err(CliError::Usage(texts::NOBODY_TO_ASK.say().to_owned()));
    }
    if confirm(question, said)? {
        Ok(())
    } else {
        Err(CliError::said(texts::NOTHING_CHANGED.say()))
    }
}

/// A password that protects or opens a key.
pub(super) fn password(prompt: &str, new: bool) -> Result<String, CliError> {
    if !is_possible() {
        return Err(CliError::Usage(
            "there is nobody to ask for the password: use --password-file".to_owned(),
        ));
    }
    let asked = Password::new().with_prompt(texts::told(prompt));
    let asked = if new {
        asked.with_confirmation(texts::told("The same again"), texts::told("They differ"))
    } else {
        asked
    };
    asked.interact().map_err(CliError::failed)
}

/// The first line of stdin.
pub(super) fn line_of_stdin() -> Result<String, CliError> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(CliError::failed)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A code that is used once: asked at the terminal, or the first line of stdin.
pub(super) fn one_time_code(question: &str) -> Result<String, CliError> {
    if !is_possible() {
        return line_of_stdin();
    }
    Input::new()
        .with_prompt(question)
        .interact_text()
        .map_err(CliError::failed)
}

/// One of several, by number.
pub(super) fn select(question: &str, items: &[impl std::fmt::Display]) -> Result<usize, CliError> {
    if !is_possible() {
        return Err(CliError::Usage(texts::NOBODY_TO_CHOOSE.say().to_owned()));
    }
    let asked = Select::new().with_prompt(question).items(items).default(0);
    asked.interact().map_err(CliError::failed)
}

/// Any of several, by number; those of `chosen` are there from the beginning.
pub(super) fn select_several(
    question: &str,
    items: &[impl std::fmt::Display],
    chosen: &[bool],
) -> Result<Vec<usize>, CliError> {
    if !is_possible() {
        return Err(CliError::Usage(texts::NOBODY_TO_CHOOSE.say().to_owned()));
    }
    let asked = MultiSelect::new()
        .with_prompt(question)
        .items(items)
        .defaults(chosen);
    asked.interact().map_err(CliError::failed)
}

/// A line of text that `check` accepts; `initial` is there from the beginning.
pub(super) fn line(
    question: &str,
    initial: &str,
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<String, CliError> {
    let asked = Input::<String>::new()
        .with_prompt(question)
        .allow_empty(true)
        .with_initial_text(initial);
    let asked = asked.validate_with(|text: &String| check(text));
    asked.interact_text().map_err(CliError::failed)
}
