//! Every route with every role: what the table says, and nothing else.

use satellite_proto::wire::management::v1 as wire;

use super::World;
use super::client::Browser;
use crate::app::users::Role;
use crate::web::access::{Need, may};
use crate::web::routes::{How, ROUTES, Route};

/// Who may do what, written down once more: administrator, operator, viewer, customer.
const TABLE: [(Need, [bool; 4]); 10] = [
    (Need::Nothing, [true, true, true, true]),
    (Need::HalfProved, [false, false, false, false]),
    (Need::SignedIn, [true, true, true, true]),
    (Need::SeeFleet, [true, true, true, false]),
    (Need::ChangeFleet, [true, true, false, false]),
    (Need::SeeBackups, [true, true, true, true]),
    (Need::RunBackups, [true, true, false, true]),
    (Need::ChangeBackups, [true, true, false, false]),
    (Need::ChangeWarnings, [true, true, false, true]),
    (Need::Administer, [true, false, false, false]),
];

/// What a customer has of the own tenants only.
const OWN: [Need; 3] = [Need::SeeBackups, Need::RunBackups, Need::ChangeWarnings];

fn expected(role: Role, need: Need) -> bool {
    let (_, roles) = TABLE.iter().find(|(found, _)| *found == need).unwrap();
    let column = Role::ALL.iter().position(|found| *found == role).unwrap();
    roles[column]
}

#[test]
fn each_role_may_what_is_written_down_and_nothing_else() {
    for (need, _) in TABLE {
        for role in Role::ALL {
            assert_eq!(may(role, need), expected(role, need), "{role} {need:?}");
        }
    }
    for route in ROUTES {
        assert!(TABLE.iter().any(|(need, _)| *need == route.need), "{route:?}");
    }
}

#[test]
fn the_documentation_of_the_page_shows_this_table() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/web.md");
    let text = std::fs::read_to_string(file).unwrap();
    let before_signing_in = [Need::Nothing, Need::HalfProved];
    for (need, _) in TABLE.iter().filter(|(need, _)| !before_signing_in.contains(need)) {
        let begins = format!("| `{need:?}` | ");
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with(&begins)).collect();
        let [row] = rows.as_slice() else {
            panic!("{} rows of {need:?}", rows.len());
        };
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let wanted = Role::ALL.map(|role| match (expected(role, *need), role) {
            (false, _) => "no",
            (true, Role::Customer) if OWN.contains(need) => "own tenants",
            (true, _) => "yes",
        });
        assert_eq!(cells[2..], wanted, "{need:?}");
        // The places that it names are there, and ask for that.
        for place in cells[1].split('`').filter(|piece| piece.starts_with('/')) {
            let is_there = |route: &Route| route.path == place && route.need == *need;
            assert!(ROUTES.iter().any(is_there), "{need:?} {place}");
        }
    }
}

/// The path of a route with names of things that are not there.
fn path(route: &Route) -> String {
    let pieces = route.path.split('/');
    let filled: Vec<&str> = pieces
        .map(|piece| if piece.starts_with('{') { "nothing" } else { piece })
        .collect();
    filled.join("/")
}

/// What a request that is allowed may answer: a page, or that the thing is not there; never that one may not.
async fn ask(browser: &mut Browser, route: &Route) -> u16 {
    let path = path(route);
    match route.how {
        // A stream does not end: its head is enough.
        How::Get => browser.raw("GET", &path, None).await.status().as_u16(),
        How::Post => browser.post(&path, &[]).await.status,
        How::Upload => browser.raw("POST", &path, None).await.status().as_u16(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_for_the_roles_of_the_table_and_for_no_other() {
    let world = World::new().await;
    let roles = [
        ("anna", Role::Administrator, wire::WebRole::Administrator),
        ("otto", Role::Operator, wire::WebRole::Operator),
        ("vera", Role::Viewer, wire::WebRole::Viewer),
        ("carl", Role::Customer, wire::WebRole::Customer),
    ];
    for (name, _, role) in roles {
        let tenants: &[&str] = if name == "carl" { &["acme"] } else { &[] };
        world.add_user(name, role, tenants).await;
    }
    let mut stranger = world.browser();
    stranger.get("/sign-in").await;
    for route in ROUTES.iter().filter(|route| !matches!(route.need, Need::Nothing)) {
        let status = ask(&mut stranger, route).await;
        let expected: &[u16] = if route.how == How::Get {
            &[303, 401]
        } else {
            &[401]
        };
        assert!(expected.contains(&status), "{route:?} for a stranger: {status}");
    }
    for (name, role, _) in roles {
        let mut browser = world.signed_in(name).await;
        browser.get("/account").await;
        // The sign-out comes last.
        let routes = ROUTES
            .iter()
            .filter(|route| route.path != "/sign-out" && !matches!(route.need, Need::Nothing));
        for route in routes {
            let status = ask(&mut browser, route).await;
            if route.how == How::Upload && expected(role, route.need) {
                assert_eq!(status, 403, "an upload without the script's token");
                continue;
            }
            let is_refused = status == 403 || status == 401;
            assert_eq!(
                is_refused,
                !expected(role, route.need),
                "{route:?} for {role}: {status}"
            );
            assert!(status < 500, "{route:?} for {role}: {status}");
        }
    }
    world.end().await;
}

#[test]
fn what_is_not_said_is_not_allowed() {
    for need in [Need::ChangeFleet, Need::ChangeBackups, Need::Administer] {
        assert!(!may(Role::Viewer, need) && !may(Role::Customer, need), "{need:?}");
    }
    assert!(!may(Role::Customer, Need::SeeFleet));
    assert!(!may(Role::Operator, Need::Administer));
    // Every change is a POST, and none is for those who only look.
    for route in ROUTES.iter().filter(|route| route.how != How::Get) {
        let own = ["/account", "/sign-in", "/sign-out", "/language"];
        let is_own = own.iter().any(|place| route.path.starts_with(place));
        assert!(is_own || !may(Role::Viewer, route.need), "{route:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_only_what_the_reader_may_do() {
    let world = World::new().await;
    world.add_user("vera", wire::WebRole::Viewer, &[]).await;
    world.add_user("carl", wire::WebRole::Customer, &["acme"]).await;
    let page = world.signed_in("vera").await.get("/satellites").await;
    assert!(page.text.contains("href=\"/bundles\"") && !page.text.contains("/satellites/pair"));
    assert!(!page.text.contains("href=\"/users\""));
    let page = world.signed_in("carl").await.get("/").await;
    assert!(page.text.contains("href=\"/archives\"") && !page.text.contains("href=\"/satellites\""));
    world.end().await;
}
