//! What a person does in a browser, with everything on one machine.

mod places;
mod restores;
mod ssh;

use e2e::browser::Browser;
use e2e::command::command;
use e2e::network::write;
use e2e::wait::until;

use crate::page::{PASSWORD, Page};
use crate::world::{SETTLED, World, json, said};

/// A browser in which an administrator has signed in.
async fn signed_in(world: &World) -> Page {
    write(&world.at("password"), PASSWORD).unwrap();
    let file = world.at("password").display().to_string();
    let add = format!("user add anna --role administrator --password-file {file}");
    said(world, &add.split(' ').collect::<Vec<_>>()).await;
    let address = until("the page to be offered", SETTLED, async || {
        let shown = json(world, &["web", "show"]).await;
        let address = shown["address"].as_str()?.to_owned();
        (!address.is_empty()).then_some(address)
    });
    let address = address.await.unwrap();
    let port = address.rsplit(':').next().unwrap();
    let browser = Browser::start(command("chromedriver")).await.unwrap();
    let page = Page::new(browser, format!("https://127.0.0.1:{port}"));
    page.sign_in_as("anna").await;
    page
}
