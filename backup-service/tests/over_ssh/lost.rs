//! What SFTP cannot carry is told, once for a data set.
#![expect(
    clippy::disallowed_methods,
    reason = "the test makes what a central may have, by the programs for it"
)]

use std::process::Command;

/// Gives a file an access control list with a user, as `setfacl -m u:12345:r` does, which is not everywhere.
const SET_LIST: &str = "import os, struct, sys\n\
    entries = [(1, 6, -1), (2, 4, 12345), (4, 4, -1), (16, 4, -1), (32, 4, -1)]\n\
    packed = b''.join(struct.pack('<HHi', *entry) for entry in entries)\n\
    os.setxattr(sys.argv[1], 'system.posix_acl_access', struct.pack('<I', 2) + packed)\n";

use super::World;
use crate::servers::{can, run};

#[tokio::test(flavor = "multi_thread")]
async fn holes_attributes_and_access_lists_that_are_lost_over_ssh_are_told_once() {
    if !can() {
        return;
    }
    let mut world = World::new().await;
    let data = world.at("data");
    for name in ["a", "b", "c"] {
        std::fs::write(data.join(name), name).unwrap();
    }
    let set = world.data();
    let none = world.pull(set.clone(), "1").await.unwrap();
    assert_eq!(none.notices, Vec::<String>::new());
    for name in ["a", "b"] {
        run(Command::new("python3")
            .args(["-c", SET_LIST])
            .arg(data.join(name)));
    }
    let file = std::fs::File::create(data.join("hole")).unwrap();
    file.set_len(10 << 20).unwrap();
    let some = world.pull(set, "2").await.unwrap();
    let [notice] = some.notices.as_slice() else {
        panic!("{:?}", some.notices)
    };
    for part in ["core: ", "2 things have extended attributes", "1 file has holes"] {
        assert!(notice.contains(part), "{notice}");
    }
    assert_eq!(some.archive.unwrap().left_out, 0);
}
