//! `satellite site`

use clap::Args;
use satellite_proto::wire::management::v1::SetSiteRequest;

use super::super::{CliError, Global, client, render, texts};

#[derive(Debug, Args)]
pub(in crate::cli) struct Site {
    /// Name of the satellite.
    name: String,
    /// Where it is, such as a branch's name: rollouts can be limited by site. Without it the satellite belongs to none.
    #[arg(default_value = "")]
    site: String,
}

impl Site {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let request = SetSiteRequest {
            satellite: self.name,
            site: self.site,
        };
        client.release.set_site(request).await?;
        render::done(global.output, texts::DONE.say())
    }
}
