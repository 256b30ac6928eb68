//! Connecting to a server: a code to show, or a join token to enter.

use satellite_proto::join::Token;
use satellite_proto::wire::bridge::v1::PairingState;

use super::{
    Flow, Menu,
    client::{ClientError, Console},
    dialog::List,
    form::{Field, Form},
    text::{Language, common as t},
};
use crate::{cli::error_chain, join};

/// Characters that a token may have.
const LONGEST_TOKEN: usize = 600;

impl Menu {
    /// Whether to go to the status page, where the code is.
    pub(super) async fn connect(&mut self) -> Flow<bool> {
        self.working(t::CONNECT, t::WAIT)?;
        let mut console = match self.console().await {
            Ok(console) => console,
            Err(ClientError::Down { .. }) => {
                self.tell(t::CONNECT, &[t::NEEDS_DAEMON]).await?;
                return Ok(false);
            }
            Err(error) => return self.not_connected(&error).await,
        };
        let pairing = match console.status().await {
            Ok(answer) => answer.pairing(),
            Err(error) => return self.not_connected(&error).await,
        };
        if matches!(pairing, PairingState::Paired | PairingState::Candidate) {
            self.tell(t::CONNECT, &[t::ALREADY_PAIRED]).await?;
            return Ok(false);
        }
        let mut ways = vec![t::SHOW_CODE];
        if pairing == PairingState::WindowOpen {
            ways.push(t::CLOSE_CODE);
        }
        ways.push(t::ENTER_TOKEN);
        let names = ways.iter().map(|way| self.say(*way).to_owned()).collect();
        let list = List::new(self.say(t::CONNECT), names);
        let chosen = self
            .choose(list)
            .await?
            .and_then(|index| ways.get(index).copied());
        let done = match chosen {
            Some(t::SHOW_CODE) => console.open_window().await.map(drop),
            Some(t::CLOSE_CODE) => console.close_window().await,
            Some(t::ENTER_TOKEN) => return self.enter_token().await,
            _ => return Ok(false),
        };
        match done {
            Ok(()) => Ok(true),
            Err(error) => self.not_connected(&error).await,
        }
    }

    /// Whether a token is tried from now on; how it goes is on the status page.
    async fn enter_token(&mut self) -> Flow<bool> {
        let language = self.language;
        let mut form = token_form(language);
        if !self.fill(&mut form, |form| check_token(language, form)).await? {
            return Ok(false);
        }
        self.working(t::CONNECT, t::WAIT)?;
        match join::start(&self.config, form.value(0).trim()).await {
            Ok(()) => {
                self.tell(t::CONNECT, &[t::JOINING]).await?;
                Ok(true)
            }
            Err(error) => {
                self.fail(t::CONNECT, &error_chain(&error)).await?;
                Ok(false)
            }
        }
    }

    pub(super) async fn console(&self) -> Result<Console, ClientError> {
        Console::connect(&self.config.console_socket()).await
    }

    async fn not_connected(&mut self, error: &ClientError) -> Flow<bool> {
        self.fail(t::CONNECT, &error_chain(error)).await?;
        Ok(false)
    }
}

/// Asks for a token.
pub(super) fn token_form(language: Language) -> Form {
    let field = Field::text(t::TOKEN, t::TOKEN_HINT, "", LONGEST_TOKEN);
    Form::new(language.say(t::ENTER_TOKEN), vec![field], t::ACCEPT)
}

/// Notes a token that is not whole.
pub(super) fn check_token(language: Language, form: &mut Form) {
    let Some(field) = form.fields.first_mut() else {
        return;
    };
    let is_whole = field.value.trim().parse::<Token>().is_ok();
    field.error = (!is_whole).then(|| {
        let text = if field.value.trim().is_empty() {
            t::TOKEN_HINT
        } else {
            t::TOKEN_WRONG
        };
        language.say(text).to_owned()
    });
}
