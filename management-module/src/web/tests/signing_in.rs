//! Signing in and out, sessions, the second factor, wrong tries.

use jiff::Timestamp;
use satellite_proto::wire::management::v1 as wire;

use super::{PASSWORD, World};
use crate::app::users::totp::Secret;

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_the_password_signs_in_and_out() {
    let world = World::new().await;
    world.add_user("anna", wire::WebRole::Administrator, &[]).await;
    let mut browser = world.browser();
    let page = browser.get("/satellites?x=1").await;
    assert_eq!(
        (page.status, page.location.as_str()),
        (303, "/sign-in?next=%2Fsatellites%3Fx%3D1")
    );
    let page = browser.get(&page.location).await;
    assert!(page.text.contains("name=\"next\" value=\"/satellites?x=1\""));
    let page = browser.sign_in("anna", PASSWORD).await;
    assert_eq!(page.location, "/");
    let page = browser.get("/").await;
    assert_eq!(page.status, 200);
    let session = browser.cookies["__Host-session"].clone();
    let page = browser.post("/sign-out", &[]).await;
    assert_eq!(page.location, "/sign-in");
    assert!(!browser.cookies.contains_key("__Host-session"));
    browser.cookies.insert("__Host-session".into(), session);
    assert_eq!(
        browser.get("/").await.status,
        303,
        "the session has ended at the server"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_user_who_is_not_there_are_told_alike() {
    let world = World::new().await;
    world.add_user("anna", wire::WebRole::Viewer, &[]).await;
    let mut browser = world.browser();
    let wrong = browser.sign_in("anna", "wrong wrong wrong").await;
    let missing = browser.sign_in("nobody", "wrong wrong wrong").await;
    assert_eq!((wrong.status, missing.status), (422, 422));
    assert!(wrong.text.contains("Name, password or code are wrong."));
    let without_name = |text: &str| text.replace("anna", "").replace("nobody", "");
    let plain = |text: &str| {
        without_name(text)
            .split("name=\"token\"")
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(plain(&wrong.text), plain(&missing.text));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tries_make_wait_and_keep_no_known_device_out() {
    let world = World::new().await;
    world.add_user("anna", wire::WebRole::Viewer, &[]).await;
    let known = world.signed_in("anna").await;
    let mut villain = world.browser();
    let mut tries = 0;
    while villain.sign_in("anna", "wrong wrong wrong").await.status == 422 {
        tries += 1;
        assert!(tries < 20);
    }
    assert_eq!(tries, 5);
    let page = villain.sign_in("anna", PASSWORD).await;
    assert_eq!(page.status, 429, "from there not even the right one counts now");
    // The same address, a device that has signed in before.
    let mut own = world.browser();
    let device = known.cookies["__Host-device"].clone();
    own.cookies.insert("__Host-device".into(), device);
    assert_eq!(own.sign_in("anna", PASSWORD).await.status, 303);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_factor_is_asked_for_and_each_code_counts_once() {
    let world = World::new().await;
    world.add_user("anna", wire::WebRole::Administrator, &[]).await;
    let mut browser = world.signed_in("anna").await;
    let page = browser.get("/account/second-factor").await;
    let text = page
        .text
        .split("name=\"secret\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let bytes = data_encoding::BASE32_NOPAD.decode(text.as_bytes()).unwrap();
    let secret = Secret::from_bytes(&bytes).unwrap();
    let step = || u64::try_from(Timestamp::now().as_second()).unwrap() / 30;
    let first = step();
    let wrong = [("secret", text), ("code", "000000"), ("present", PASSWORD)];
    assert_eq!(browser.post("/account/second-factor", &wrong).await.status, 422);
    let code = secret.code(first);
    let right = [("secret", text), ("code", code.as_str()), ("present", PASSWORD)];
    let page = browser.post("/account/second-factor", &right).await;
    assert_eq!(page.location, "/account?done=factor-on", "{}", page.text);

    let mut other = world.browser();
    let page = other.sign_in("anna", PASSWORD).await;
    assert_eq!(page.location, "/sign-in/code?next=%2F");
    assert_eq!(other.get("/").await.status, 303, "half a sign-in is none");
    other.get("/sign-in/code?next=/").await;
    let used = [("code", code.as_str()), ("next", "/")];
    assert_eq!(
        other.post("/sign-in/code", &used).await.status,
        422,
        "a code that was used"
    );
    let next = secret.code(first + 1);
    let half = other.cookies["__Host-session"].clone();
    let page = other
        .post("/sign-in/code", &[("code", next.as_str()), ("next", "/")])
        .await;
    assert_eq!((page.status, page.location.as_str()), (303, "/"));
    assert_ne!(half, other.cookies["__Host-session"]);
    assert_eq!(other.get("/").await.status, 200);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_password_ends_the_other_sessions_and_a_blocked_user_has_none() {
    let world = World::new().await;
    world.add_user("anna", wire::WebRole::Administrator, &[]).await;
    world.add_user("bert", wire::WebRole::Viewer, &[]).await;
    let mut here = world.signed_in("anna").await;
    let mut there = world.signed_in("anna").await;
    here.get("/account").await;
    let fields = [
        ("present", PASSWORD),
        ("password", "another long sentence"),
        ("again", "another long sentence"),
    ];
    let page = here.post("/account/password", &fields).await;
    assert_eq!(page.location, "/account?done=password", "{}", page.text);
    assert_eq!(here.get("/").await.status, 200);
    assert_eq!(there.get("/").await.status, 303);

    let mut bert = world.signed_in("bert").await;
    let request = wire::ChangeUserRequest {
        name: "bert".into(),
        disabled: Some(true),
        ..Default::default()
    };
    world.rpc().change_user(request).await.unwrap();
    assert_eq!(bert.get("/").await.status, 303);
    assert_eq!(world.browser().sign_in("bert", PASSWORD).await.status, 422);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_common_password_is_refused_in_the_readers_language_wherever_one_is_set() {
    let world = World::new().await;
    world.add_user("anna", wire::WebRole::Administrator, &[]).await;
    let common = "Sommer2026!!";
    let mut browser = world.signed_in("anna").await;
    for (language, wanted) in [
        ("en", "too easy to guess"),
        ("de", "zu leicht zu erraten"),
        ("fr", "trop facile à deviner"),
        ("it", "troppo facile da indovinare"),
    ] {
        browser.language = language;
        for (place, fields) in [
            (
                "/users",
                vec![("name", "bert"), ("role", "viewer"), ("password", common)],
            ),
            (
                "/users/anna",
                vec![("role", "administrator"), ("password", common)],
            ),
            (
                "/account/password",
                vec![("present", PASSWORD), ("password", common), ("again", common)],
            ),
        ] {
            browser.get("/users").await;
            let page = browser.post(place, &fields).await;
            assert_eq!(page.status, 422, "{place}: {}", page.text);
            assert!(page.text.contains(wanted), "{place}, {language}: {}", page.text);
        }
    }
    // The command line.
    let request = wire::AddUserRequest {
        name: "bert".to_owned(),
        password: common.to_owned(),
        role: wire::WebRole::Viewer.into(),
        tenants: Vec::new(),
    };
    let added = world.rpc().add_user(request).await.unwrap_err();
    let request = wire::ChangeUserRequest {
        name: "anna".into(),
        password: common.to_owned(),
        ..Default::default()
    };
    let changed = world.rpc().change_user(request).await.unwrap_err();
    for refused in [added, changed] {
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
        assert!(refused.message().contains("too easy to guess"), "{refused}");
    }
    // Nobody's password has changed.
    world.signed_in("anna").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_administrator_stays() {
    let world = World::new().await;
    world.add_user("anna", wire::WebRole::Administrator, &[]).await;
    let name = || "anna".to_owned();
    let removed = world
        .rpc()
        .remove_user(wire::RemoveUserRequest { name: name() })
        .await;
    assert_eq!(removed.unwrap_err().code(), tonic::Code::FailedPrecondition);
    let request = wire::ChangeUserRequest {
        name: name(),
        role: wire::WebRole::Viewer.into(),
        ..Default::default()
    };
    let changed = world.rpc().change_user(request).await;
    assert_eq!(changed.unwrap_err().code(), tonic::Code::FailedPrecondition);
    world.add_user("bert", wire::WebRole::Administrator, &[]).await;
    world
        .rpc()
        .remove_user(wire::RemoveUserRequest { name: name() })
        .await
        .unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_has_sign_ins_and_actions_with_the_users_name_and_no_secret() {
    let world = World::new().await;
    world.add_user("anna", wire::WebRole::Administrator, &[]).await;
    world.browser().sign_in("anna", "wrong wrong wrong").await;
    world.browser().sign_in("oops-my-password-1", "x").await;
    let mut browser = world.signed_in("anna").await;
    browser.get("/users").await;
    let fields = [("name", "bert"), ("role", "viewer"), ("password", PASSWORD)];
    let page = browser.post("/users", &fields).await;
    assert_eq!(page.location, "/users?done=user-added", "{}", page.text);
    let page = browser.get("/audit").await;
    let shown = page.text.replace("<wbr>", "");
    for wanted in [
        "web user anna",
        "Web/SignIn",
        "wrong name or password",
        "Web/AddUser",
        "bert",
        "(unknown)",
    ] {
        assert!(shown.contains(wanted), "{wanted} is missing in {shown}");
    }
    for secret in [PASSWORD, "oops-my-password-1", "wrong wrong"] {
        assert!(!page.text.contains(secret), "{secret}");
    }
    world.end().await;
}
