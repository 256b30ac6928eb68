//! What cannot be taken back: disconnecting, resetting; and going down.
//!
//! **Invariant:** each says what is lost and needs a typed word. Nothing here needs the daemon, if the machine itself can
//! do it.

use super::{
    Flow, Menu,
    dialog::List,
    text::{Text, common as c, danger as t},
};
use crate::{
    change::{self, Changes},
    cli::error_chain,
    firewall,
    network::Network,
    reset,
};

/// Typed to let go of the server. No word here has a letter that moves between keyboards.
const DISCONNECT: &str = "DISCONNECT";
/// Typed to reset the firewall.
const RESET: &str = "RESET";
/// Typed to erase everything.
const DELETE: &str = "DELETE";

impl Menu {
    pub(super) async fn reset_firewall(&mut self) -> Flow {
        if !self.agree(c::FIREWALL, &[t::FIREWALL_WHAT], RESET).await? {
            return Ok(());
        }
        self.working(c::FIREWALL, c::WAIT)?;
        let asked = match self.console().await {
            Ok(mut console) => console
                .reset_firewall()
                .await
                .map_err(|error| error_chain(&error)),
            // Without the daemon nobody else changes the rules.
            Err(_) => {
                let settings = self.config.firewall(self.config.listen.port());
                let reset = firewall::reset_from_disk(&settings).await;
                reset.map_err(|error| error_chain(&error))
            }
        };
        self.told(c::FIREWALL, asked, t::FIREWALL_DONE).await
    }

    /// Back to what was confirmed last, and if that is in force, to what was confirmed before.
    pub(super) async fn restore_last_good(&mut self) -> Flow {
        let network = Network::open(&self.config);
        let open = Changes::new(&self.config.state_dir).peek();
        let before = network
            .last_good()
            .filter(|before| network.settings().is_ok_and(|settings| settings != *before));
        if open.is_none() && before.is_none() {
            return self.tell(c::RESTORE, &[t::RESTORE_NOTHING]).await;
        }
        if !self.agree(c::RESTORE, &[t::RESTORE_WHAT], RESET).await? {
            return Ok(());
        }
        self.working(c::RESTORE, c::WAIT)?;
        if let Some(open) = open {
            let undone = change::rollback_from_disk(&self.config, open.id).await;
            let undone = undone.map(drop).map_err(|error| error_chain(&error));
            return self.told(c::RESTORE, undone, t::RESTORE_TAKEN_BACK).await;
        }
        let Some(before) = before else { return Ok(()) };
        if self.is_meant(c::RESTORE, t::RESTORE_NETWORK_BEFORE).await? {
            self.apply(&network, &before).await?;
        }
        Ok(())
    }

    pub(super) async fn disconnect(&mut self) -> Flow {
        let losses = [t::DISCONNECT_WHAT, t::DISCONNECT_LOST];
        if !self.agree(c::DISCONNECT, &losses, DISCONNECT).await? {
            return Ok(());
        }
        self.working(c::DISCONNECT, c::WAIT)?;
        let done = reset::disconnect(&self.config).await;
        match done {
            Ok(true) => self.tell(c::DISCONNECT, &[c::DONE]).await,
            Ok(false) => self.tell(c::DISCONNECT, &[t::NOT_PAIRED]).await,
            Err(error) => self.fail(c::DISCONNECT, &error_chain(&error)).await,
        }
    }

    pub(super) async fn factory_reset(&mut self) -> Flow {
        let losses = [t::FACTORY_WHAT, t::FACTORY_LOST];
        if !self.agree(c::FACTORY, &losses, DELETE).await? {
            return Ok(());
        }
        self.working(c::FACTORY, c::WAIT)?;
        let asked = reset::request_factory_reset_of(&self.config, &*self.units).await;
        self.told(
            c::FACTORY,
            asked.map_err(|error| error_chain(&error)),
            t::FACTORY_DONE,
        )
        .await
    }

    pub(super) async fn reboot(&mut self) -> Flow {
        if self.is_meant(c::REBOOT, t::REBOOT_ASK).await? {
            let begun = self.units.reboot().await;
            self.told(
                c::REBOOT,
                begun.map_err(|error| error_chain(&error)),
                t::GOING_DOWN,
            )
            .await?;
        }
        Ok(())
    }

    pub(super) async fn shut_down(&mut self) -> Flow {
        if self.is_meant(c::SHUT_DOWN, t::SHUT_DOWN_ASK).await? {
            let begun = self.units.power_off().await;
            self.told(
                c::SHUT_DOWN,
                begun.map_err(|error| error_chain(&error)),
                t::GOING_DOWN,
            )
            .await?;
        }
        Ok(())
    }

    /// No is the first answer.
    async fn is_meant(&mut self, title: Text, question: Text) -> Flow<bool> {
        let answers = vec![self.say(c::NO).to_owned(), self.say(c::YES).to_owned()];
        let list = List::new(self.say(title), answers).intro(vec![self.say(question).to_owned()]);
        Ok(self.choose(list).await? == Some(1))
    }

    pub(super) async fn told(&mut self, title: Text, done: Result<(), String>, text: Text) -> Flow {
        match done {
            Ok(()) => self.tell(title, &[text]).await,
            Err(error) => self.fail(title, &error).await,
        }
    }
}
