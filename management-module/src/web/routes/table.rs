//! The table of routes: how, where, what it takes, who answers.

use super::{How, Route};
use crate::web::access::Need::{
    Administer, ChangeBackups, ChangeFleet, ChangeWarnings, HalfProved, Nothing, RunBackups, SeeBackups,
    SeeFleet, SignedIn,
};
use crate::web::pages::{
    account, archives, audit, backups, bundles, centrals, destinations, firewall, jobs, logs, network,
    overview, pair, restores, rollouts, satellite, satellites, sign_in, users, warnings, wizard,
};
use crate::web::statics;

macro_rules! routes {
    ($($how:ident $path:literal $need:ident $handler:path;)*) => {
        &[$(Route { how: How::$how, path: $path, need: $need, handler: |ask| Box::pin($handler(ask)) }),*]
    };
}

/// Every route there is.
pub(in crate::web) const ROUTES: &[Route] = routes! {
    Get "/static/{hash}/{file}" Nothing statics::get;
    Get "/sign-in" Nothing sign_in::form;
    Post "/sign-in" Nothing sign_in::sign_in;
    Get "/sign-in/code" HalfProved sign_in::code_form;
    Post "/sign-in/code" HalfProved sign_in::code;
    Get "/sign-in/provider" Nothing sign_in::to_provider;
    Get "/sign-in/provider/back" Nothing sign_in::from_provider;
    Post "/language" Nothing sign_in::language;

    Get "/" SignedIn overview::show;
    Get "/events" SignedIn overview::events;
    Post "/sign-out" SignedIn sign_in::sign_out;
    Get "/account" SignedIn account::show;
    Post "/account/password" SignedIn account::password;
    Get "/account/second-factor" SignedIn account::factor_form;
    Post "/account/second-factor" SignedIn account::factor;
    Post "/account/second-factor/remove" SignedIn account::factor_off;
    Get "/jobs/{id}" SignedIn jobs::show;
    Get "/jobs/{id}/events" SignedIn jobs::events;

    Get "/users" Administer users::list;
    Post "/users" Administer users::add;
    Get "/users/{name}" Administer users::show;
    Post "/users/{name}" Administer users::change;
    Post "/users/{name}/remove" Administer users::remove;
    Get "/audit" Administer audit::list;

    Get "/satellites" SeeFleet satellites::list;
    Get "/satellites/events" SeeFleet satellites::events;
    Get "/satellites/pair" ChangeFleet pair::form;
    Post "/satellites/pair" ChangeFleet pair::pair;
    Get "/satellites/tokens" ChangeFleet pair::tokens;
    Post "/satellites/tokens" ChangeFleet pair::make_token;
    Post "/satellites/tokens/{id}/revoke" ChangeFleet pair::revoke_token;
    Get "/satellites/{name}" SeeFleet satellite::show;
    Get "/satellites/{name}/events" SeeFleet satellite::events;
    Post "/satellites/{name}/reboot" ChangeFleet satellite::reboot;
    Post "/satellites/{name}/trust" ChangeFleet satellite::trust;
    Post "/satellites/{name}/forget" ChangeFleet satellite::forget;
    Post "/satellites/{name}/workloads/{workload}/start" ChangeFleet satellite::start;
    Post "/satellites/{name}/workloads/{workload}/stop" ChangeFleet satellite::stop;
    Post "/satellites/{name}/workloads/{workload}/restart" ChangeFleet satellite::restart;
    Post "/satellites/{name}/workloads/{workload}/update" ChangeFleet satellite::update;
    Get "/satellites/{name}/logs" SeeFleet logs::show;
    Get "/satellites/{name}/logs/events" SeeFleet logs::events;
    Get "/satellites/{name}/logs/download" SeeFleet logs::download;
    Get "/satellites/{name}/firewall" SeeFleet firewall::show;
    Get "/satellites/{name}/firewall/events" SeeFleet firewall::events;
    Post "/satellites/{name}/firewall/check" ChangeFleet firewall::check;
    Post "/satellites/{name}/firewall/edit" ChangeFleet firewall::edit;
    Post "/satellites/{name}/firewall/apply" ChangeFleet firewall::apply;
    Post "/satellites/{name}/firewall/reset" ChangeFleet firewall::reset;
    Get "/satellites/{name}/network" SeeFleet network::show;
    Get "/satellites/{name}/network/events" SeeFleet network::events;
    Post "/satellites/{name}/network" ChangeFleet network::apply;
    Post "/satellites/{name}/network/probe" ChangeFleet network::probe;
    Get "/bundles" SeeFleet bundles::list;
    Get "/bundles/events" SeeFleet bundles::events;
    Upload "/bundles" ChangeFleet bundles::add;
    Post "/bundles/{workload}/push" ChangeFleet bundles::push;
    Get "/rollouts" SeeFleet rollouts::list;
    Get "/rollouts/events" SeeFleet rollouts::list_events;
    Get "/rollouts/new" ChangeFleet rollouts::form;
    Post "/rollouts/new" ChangeFleet rollouts::begin;
    Get "/rollouts/{id}" SeeFleet rollouts::show;
    Get "/rollouts/{id}/events" SeeFleet rollouts::events;
    Post "/rollouts/{id}/pause" ChangeFleet rollouts::pause;
    Post "/rollouts/{id}/resume" ChangeFleet rollouts::resume;
    Post "/rollouts/{id}/abort" ChangeFleet rollouts::abort;

    Get "/backups" SeeBackups backups::list;
    Get "/backups/events" SeeBackups backups::list_events;
    Get "/backups/new" ChangeBackups wizard::begin;
    Get "/backups/draft/{draft}/{step}" ChangeBackups wizard::show;
    Post "/backups/draft/{draft}/{step}" ChangeBackups wizard::go_on;
    Get "/backups/of/{name}" SeeBackups backups::show;
    Get "/backups/of/{name}/events" SeeBackups backups::events;
    Post "/backups/of/{name}/run" RunBackups backups::run;
    Post "/backups/of/{name}/remove" ChangeBackups backups::remove;
    Get "/destinations" ChangeBackups destinations::list;
    Get "/destinations/new" ChangeBackups destinations::form;
    Post "/destinations/new" ChangeBackups destinations::add;
    Get "/destinations/dropbox/{id}" ChangeBackups destinations::dropbox;
    Post "/destinations/dropbox/{id}" ChangeBackups destinations::finish_dropbox;
    Post "/destinations/{name}/test" ChangeBackups destinations::test;
    Post "/destinations/{name}/remove" ChangeBackups destinations::remove;
    Get "/restores" SeeBackups restores::list;
    Get "/restores/events" SeeBackups restores::events;
    Get "/archives" SeeBackups archives::list;
    Get "/archives/events" SeeBackups archives::events;
    Post "/archives/new" RunBackups archives::make;
    Get "/archives/{id}" SeeBackups archives::show;
    Get "/archives/{id}/download" RunBackups archives::download;
    Post "/archives/{id}/verify" ChangeBackups archives::verify;
    Get "/archives/{id}/members" ChangeBackups archives::members;
    Post "/archives/{id}/restore" ChangeBackups archives::restore;
    Post "/archives/{id}/delete" ChangeBackups archives::delete;
    Get "/warnings" SeeBackups warnings::list;
    Get "/warnings/events" SeeBackups warnings::events;
    Get "/warnings/new" ChangeBackups warnings::add_form;
    Post "/warnings/new" ChangeBackups warnings::add;
    Get "/warnings/of/{name}" SeeBackups warnings::show;
    Post "/warnings/of/{name}" ChangeBackups warnings::change;
    Post "/warnings/of/{name}/limits" ChangeWarnings warnings::limits;
    Post "/warnings/of/{name}/remove" ChangeBackups warnings::remove;
    Get "/centrals" SeeBackups centrals::list;
    Get "/centrals/new" ChangeBackups centrals::form;
    Post "/centrals/new" ChangeBackups centrals::add;
    Get "/centrals/{name}" SeeBackups centrals::show;
    Post "/centrals/{name}/check" ChangeBackups centrals::check;
    Post "/centrals/{name}/master" ChangeBackups centrals::set_master;
    Post "/centrals/{name}/remove" ChangeBackups centrals::remove;
};
