//! The whole of `make run`, on a smaller central.

use e2e::first_light::{STEPS, first_light};
use e2e::scratch::Scratch;
use e2e::tell::{Teller, mebibytes};

#[tokio::test]
async fn a_server_commissions_a_satellite_and_backs_up_real_data_through_it() {
    let lab = Scratch::new().await.unwrap();
    let seen = Box::pin(first_light(&lab, 40_000_000, &mut Teller::new(STEPS)))
        .await
        .unwrap();
    println!("bridge RSS idle: {}", mebibytes(seen.bridge_memory));
    println!(
        "management module RSS: {}",
        mebibytes(lab.server.memory().unwrap())
    );
    println!("pairing to healthy: {:?}", seen.commissioning.unwrap());
    assert!(seen.archive.file_name.ends_with(".sar"));
    assert!(seen.archive.size_bytes > 10_000_000, "{:?}", seen.archive);
    assert_eq!(seen.archive.central, "sample");
    assert!(
        !seen.logs.trim().is_empty(),
        "the satellite's log of the backup service is empty"
    );
    for rule in [
        "workload/backup-service",
        "windows-share",
        "In force as set:  yes",
    ] {
        assert!(seen.firewall.contains(rule), "{}", seen.firewall);
    }

    // A second time everything is found where it was left.
    let again = Box::pin(first_light(&lab, 40_000_000, &mut Teller::new(STEPS)))
        .await
        .unwrap();
    assert_eq!(again.archive.id, seen.archive.id);
    assert_eq!(again.commissioning, None);
}
