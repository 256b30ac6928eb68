//! Connects a Dropbox: the account allows it on a page, whose code a person brings back.

use satellite_proto::wire::backup::v1 as pb;
use satellite_proto::wire::backup::v1::destination::Kind;

use super::{Destinations, Place};
use crate::app::remote::call;
use crate::app::{Actor, AppError};
use crate::names::SatelliteName;
use crate::store::DestinationRow;

/// A connection that was begun.
pub struct DropboxBegun {
    /// The page that a person opens.
    pub url: String,
    /// Secret. Proves at the end that it is the same one.
    pub verifier: String,
    /// The satellite that has asked.
    pub satellite: SatelliteName,
}

/// The end of a connection.
pub struct DropboxWish {
    /// Name of the destination.
    pub name: String,
    /// Key of the app.
    pub app_key: String,
    /// The satellite that has begun.
    pub satellite: String,
    /// Secret. As it was answered.
    pub verifier: String,
    /// Secret. What the page showed.
    pub code: String,
    /// Most bytes a second; 0: no limit.
    pub bytes_per_second: u64,
    /// Changes the one of the same name.
    pub replace: bool,
}

/// What both show when they are printed by accident.
macro_rules! without_secrets {
    ($($name:ident),+) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )+};
}

without_secrets!(DropboxBegun, DropboxWish);

impl Destinations {
    /// Begins to connect a Dropbox.
    ///
    /// # Errors
    /// [`AppError::Invalid`] the satellite has to be named; what the satellite says.
    pub async fn begin_dropbox(&self, app_key: &str, satellite: &str) -> Result<DropboxBegun, AppError> {
        let satellite = self.satellite(satellite).await?;
        let request = pb::BeginDropboxRequest {
            app_key: app_key.to_owned(),
        };
        let mut client = self.client(&satellite)?;
        let deadline = self.app.config.call_deadline;
        let begun = call(&satellite, deadline, client.begin_dropbox(request)).await?;
        Ok(DropboxBegun {
            url: begun.url,
            verifier: begun.verifier.unwrap_or_default().value,
            satellite,
        })
    }

    /// Ends it with the code, and keeps the destination. Answers whose account it is, too.
    ///
    /// # Errors
    /// What the satellite says; [`AppError::Exists`].
    pub async fn finish_dropbox(
        &self,
        actor: &Actor,
        wish: DropboxWish,
    ) -> Result<(DestinationRow, String), AppError> {
        let name = wish.name.clone();
        let finished = async {
            let satellite = self.satellite(&wish.satellite).await?;
            let secret = |value| Some(pb::Secret { value });
            let request = pb::FinishDropboxRequest {
                app_key: wish.app_key,
                verifier: secret(wish.verifier),
                code: secret(wish.code),
            };
            let mut client = self.client(&satellite)?;
            // Dropbox itself is asked meanwhile.
            let deadline = self.app.config.call_deadline * 3;
            let finished = call(&satellite, deadline, client.finish_dropbox(request)).await?;
            let whole = pb::Destination {
                kind: finished.dropbox.map(Kind::Dropbox),
                bytes_per_second: wish.bytes_per_second,
                ..pb::Destination::default()
            };
            let place = Place::Satellite(Box::new(whole));
            let row = self.keep(&wish.name, place, wish.replace).await?;
            Ok((row, finished.account))
        };
        let finished = finished.await;
        let action = "DestinationService/FinishDropbox";
        self.app.audit.recorded(actor, action, &name, finished).await
    }
}
