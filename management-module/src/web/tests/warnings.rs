//! Accounts on the page: added, changed, their thresholds set by who answers for them and by nobody else.

use satellite_proto::wire::management::v1 as wire;

use super::World;
use super::client::Browser;

/// Two accounts, of two tenants.
async fn two_accounts(anna: &mut Browser) {
    for (name, tenant) in [("4000001", "acme"), ("4000002", "other")] {
        anna.get("/warnings/new").await;
        let fields = [
            ("name", name),
            ("tenant", tenant),
            ("space", "1,5"),
            ("mail-language", "de"),
            ("warned", "yes"),
            ("mails", "x@acme.example, y@acme.example"),
            ("reseller-person-mails", "rita@reseller.example"),
            ("reseller-warned", "yes"),
        ];
        let page = anna.post("/warnings/new", &fields).await;
        let place = format!("/warnings/of/{name}?done=saved");
        assert_eq!((page.status, page.location), (303, place), "{}", page.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_sets_when_the_own_accounts_warn_and_sees_no_others() {
    let world = World::new().await;
    world.add_user("anna", wire::WebRole::Administrator, &[]).await;
    world.add_user("carl", wire::WebRole::Customer, &["acme"]).await;
    world.add_user("vera", wire::WebRole::Viewer, &[]).await;
    let mut anna = world.signed_in("anna").await;
    assert!(anna.get("/warnings").await.text.contains("nobody is warned"));
    two_accounts(&mut anna).await;
    let mut carl = world.signed_in("carl").await;
    let page = carl.get("/warnings").await;
    assert!(
        page.text.contains("4000001")
            && !page.text.contains("4000002")
            && !page.text.contains("/warnings/new")
    );
    let page = carl.get("/warnings/of/4000001").await;
    assert!(
        !page.text.contains("/warnings/of/4000001/remove"),
        "{}",
        page.text
    );
    let limits = |percent| {
        [
            ("percent", percent),
            ("missed", "3"),
            ("failed", "0"),
            ("days", "30"),
        ]
    };
    assert_eq!(
        carl.post("/warnings/of/4000002/limits", &limits("50"))
            .await
            .status,
        404
    );
    let page = carl.post("/warnings/of/4000001/limits", &limits("101")).await;
    assert_eq!(page.status, 422);
    assert!(
        page.text.contains("1 to 100.") && page.text.contains("value=\"101\""),
        "{}",
        page.text
    );
    carl.get("/warnings/of/4000001").await;
    assert_eq!(
        carl.post("/warnings/of/4000001/limits", &limits("50"))
            .await
            .status,
        303
    );
    assert_eq!(
        carl.post("/warnings/of/4000001", &[("tenant", "other")])
            .await
            .status,
        403
    );
    let mut vera = world.signed_in("vera").await;
    let page = vera.get("/warnings/of/4000001").await;
    assert!(
        page.text.contains("<dd>50</dd>") && !page.text.contains("/limits"),
        "{}",
        page.text
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_added_changed_and_removed_and_keeps_what_a_form_does_not_have() {
    let world = World::new().await;
    world.add_user("anna", wire::WebRole::Administrator, &[]).await;
    let mut anna = world.signed_in("anna").await;
    two_accounts(&mut anna).await;
    let page = anna.get("/warnings/of/4000001").await;
    for told in [
        "x@acme.example, y@acme.example, rita@reseller.example",
        "Deutsch",
        "1.5\u{a0}GB",
        "value=\"1.5\"",
    ] {
        assert!(page.text.contains(told), "{told}: {}", page.text);
    }
    let limits = [
        ("percent", "50"),
        ("missed", "3"),
        ("failed", "0"),
        ("days", "30"),
    ];
    assert_eq!(
        anna.post("/warnings/of/4000001/limits", &limits).await.status,
        303
    );
    anna.get("/warnings/of/4000001").await;
    let fields = [
        ("tenant", "acme"),
        ("space", "2"),
        ("mail-language", "fr"),
        ("mails", "z@acme.example"),
    ];
    assert_eq!(anna.post("/warnings/of/4000001", &fields).await.status, 303);
    let page = anna.get("/warnings/of/4000001").await;
    for told in [
        "nobody",
        "Français",
        "2.0\u{a0}GB",
        "value=\"50\"",
        "value=\"30\"",
    ] {
        assert!(page.text.contains(told), "{told}: {}", page.text);
    }
    let page = anna.post("/warnings/of/4000001", &[("space", "much")]).await;
    assert!(
        page.status == 422 && page.text.contains("gigabytes"),
        "{}",
        page.text
    );
    anna.get("/warnings/of/4000001").await;
    assert_eq!(
        anna.post("/warnings/of/4000001/remove", &[("word", "x")])
            .await
            .status,
        422
    );
    assert_eq!(
        anna.post("/warnings/of/4000001/remove", &[("word", "4000001")])
            .await
            .status,
        303
    );
    assert_eq!(anna.get("/warnings/of/4000001").await.status, 404);
    world.end().await;
}
