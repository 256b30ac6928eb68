//! Connecting to a server: a code to show.

use satellite_proto::wire::bridge::v1::PairingState;

use super::{
    Flow, Menu,
    client::{ClientError, Console},
    dialog::List,
    text::common as t,
};
use crate::cli::error_chain;

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
        let names = ways.iter().map(|way| self.say(*way).to_owned()).collect();
        let list = List::new(self.say(t::CONNECT), names);
        let chosen = self
            .choose(list)
            .await?
            .and_then(|index| ways.get(index).copied());
        let done = match chosen {
            Some(t::SHOW_CODE) => console.open_window().await.map(drop),
            Some(t::CLOSE_CODE) => console.close_window().await,
            _ => return Ok(false),
        };
        match done {
            Ok(()) => Ok(true),
            Err(error) => self.not_connected(&error).await,
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
