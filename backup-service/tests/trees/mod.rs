//! Trees as unpleasant as file systems allow: what comes back from a destination is what was sent, in every byte and in all
//! that is known of a file. `PROPTEST_CASES` says how many are tried.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::cell::Cell;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use satellite_proto::wire::backup::v1 as pb;
use satellite_proto::wire::backup::v1::create_archive_request::Kind;
use tokio::runtime::Handle;

use crate::client::{self, batch, create, header, trailer};
use crate::destinations::{Client, copy, delete, fetch};
use crate::support::{noise, sha256};

/// Trees that are tried where nothing else is said.
const FEW: u32 = 3;

/// Longest path of a member, in bytes.
const LONGEST: usize = 4096;

/// A member with its content.
type Told = (pb::Member, Vec<u8>);

#[derive(Debug, Clone)]
enum Node {
    File {
        size: usize,
        hole: usize,
    },
    Directory(Vec<(Vec<u8>, Self)>),
    Symlink(Vec<u8>),
    /// Another name of the first file, if there is one.
    HardLink,
}

/// All that is known of a file beside its content.
#[derive(Debug, Clone)]
struct Known {
    mode: u32,
    owners: (u32, u32),
    names: (String, String),
    modified: (i64, i32),
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let odd = prop::collection::vec(1_u8.., 1..40).prop_map(|mut name| {
        let slashes = name.iter_mut().filter(|byte| **byte == b'/');
        slashes.for_each(|byte| *byte = b'\n');
        name
    });
    let long = (1_u8..b'/').prop_map(|byte| vec![byte; 255]);
    prop_oneof![8 => odd, 1 => long].prop_filter("not a name", |name| name != b"." && name != b"..")
}

fn node() -> impl Strategy<Value = Node> {
    // Around what a tar block, a piece and a frame hold.
    let edge = prop::sample::select(vec![0, 1, 511, 512, 513, 65_535, 65_536, 262_144, 1_048_577]);
    let size = prop_oneof![edge, 0..3000_usize, 0..400_000_usize];
    let file =
        (size, prop_oneof![Just(0), 1..300_000_usize]).prop_map(|(size, hole)| Node::File { size, hole });
    let leaf = prop_oneof![
        5 => file,
        1 => prop::collection::vec(1_u8.., 1..300).prop_map(Node::Symlink),
        1 => Just(Node::HardLink),
    ];
    leaf.prop_recursive(5, 24, 6, |inner| {
        prop::collection::vec((name(), inner), 0..6).prop_map(Node::Directory)
    })
}

fn known() -> impl Strategy<Value = Known> {
    let xattr = (
        prop::collection::vec(1_u8.., 1..40),
        prop::collection::vec(any::<u8>(), 0..80),
    );
    (
        0..0o10000_u32,
        any::<(u32, u32)>(),
        ("[a-zäöü]{0,40}", "[a-z]{0,40}"),
        (-(1_i64 << 33)..1_i64 << 33, 0..1_000_000_000_i32),
        prop::collection::vec(xattr, 0..3),
    )
        .prop_map(|(mode, owners, names, modified, xattrs)| Known {
            mode,
            owners,
            names,
            modified,
            xattrs,
        })
}

/// What is told of a tree: each member once, directories before what is in them.
fn tree() -> impl Strategy<Value = Vec<Told>> {
    let nodes = prop::collection::vec((name(), node()), 1..6);
    (nodes, prop::collection::vec(known(), 8)).prop_map(|(nodes, known)| {
        let mut all = Vec::new();
        tell(&nodes, b"", &known, &mut all);
        all
    })
}

fn tell(nodes: &[(Vec<u8>, Node)], below: &[u8], known: &[Known], all: &mut Vec<Told>) {
    let mut names = std::collections::BTreeSet::new();
    for (name, node) in nodes.iter().filter(|(name, _)| names.insert(name.clone())) {
        let path = match below {
            b"" => name.clone(),
            below => [below, b"/", name].concat(),
        };
        if path.len() > LONGEST {
            continue;
        }
        let first_file = all.iter().find(|(one, _)| one.r#type() == pb::MemberType::File);
        let first_file = first_file.map(|(one, _)| one.path.clone());
        let mut member = member(&known[all.len() % known.len()]);
        member.path = path.clone().into();
        let mut content = Vec::new();
        match (node, first_file) {
            (Node::Directory(_), _) => member.r#type = pb::MemberType::Directory.into(),
            (Node::Symlink(target), _) => {
                member.r#type = pb::MemberType::Symlink.into();
                member.link_target = target.clone().into();
            }
            (Node::HardLink, Some(target)) => {
                member.r#type = pb::MemberType::HardLink.into();
                member.link_target = target;
            }
            (Node::HardLink, None) => member.r#type = pb::MemberType::File.into(),
            (Node::File { size, hole }, _) => {
                member.r#type = pb::MemberType::File.into();
                member.sparse = *hole > 0;
                content = vec![0; *hole];
                content.extend(noise(*size, path.len() as u64));
                member.size_bytes = content.len() as u64;
            }
        }
        all.push((member, content));
        if let Node::Directory(inside) = node {
            tell(inside, &path, known, all);
        }
    }
}

fn member(known: &Known) -> pb::Member {
    let xattr = |(name, value): &(Vec<u8>, Vec<u8>)| pb::ExtendedAttribute {
        name: name.clone().into(),
        value: value.clone().into(),
    };
    pb::Member {
        data_set: "core".to_owned(),
        mode: known.mode,
        uid: known.owners.0,
        gid: known.owners.1,
        user_name: known.names.0.clone(),
        group_name: known.names.1.clone(),
        modify_time: Some(prost_types::Timestamp {
            seconds: known.modified.0,
            nanos: known.modified.1,
        }),
        xattrs: known.xattrs.iter().map(xattr).collect(),
        origin: pb::MemberOrigin::Path.into(),
        ..pb::Member::default()
    }
}

/// The messages that tell of a tree.
fn messages(key: &str, tree: &[Told]) -> Vec<Kind> {
    let mut all = vec![header(key)];
    for (member, content) in tree {
        all.push(batch(pb::item::Kind::Begin(member.clone())));
        if member.r#type() == pb::MemberType::File {
            let pieces = content.chunks(200_000).map(Bytes::copy_from_slice);
            all.extend(pieces.map(|piece| batch(pb::item::Kind::Content(piece))));
            let sha256 = Bytes::copy_from_slice(&sha256(content));
            all.push(batch(pb::item::Kind::End(pb::MemberEnd { sha256, xxh3: None })));
        }
    }
    let bytes = tree.iter().map(|(_, content)| content.len() as u64).sum();
    all.push(trailer(tree.len() as u64, bytes));
    all
}

/// What an archive tells of its members.
async fn told(archives: &mut client::Client, id: &str) -> Vec<Told> {
    let asked = pb::ReadArchiveRequest {
        id: id.to_owned(),
        ..pb::ReadArchiveRequest::default()
    };
    let mut stream = archives.read_archive(asked).await.unwrap().into_inner();
    let mut all: Vec<Told> = Vec::new();
    while let Some(answer) = stream.message().await.unwrap() {
        for item in answer.batch.unwrap().items {
            match item.kind.unwrap() {
                pb::item::Kind::Begin(member) => all.push((member, Vec::new())),
                pb::item::Kind::Content(bytes) => all.last_mut().unwrap().1.extend_from_slice(&bytes),
                pb::item::Kind::Copied(_) => panic!("content is sent"),
                pb::item::Kind::End(_) => {}
            }
        }
    }
    all
}

async fn there_and_back(
    archives: &mut client::Client,
    client: &mut Client,
    destination: &pb::Destination,
    (key, tree): (&str, &[Told]),
) -> Vec<Told> {
    let archive = create(archives, messages(key, tree)).await.unwrap();
    let done = copy(client, &archive, destination.clone()).await.unwrap();
    let remove = |id: String| pb::DeleteArchiveRequest {
        idempotency_key: format!("gone {key} {id}"),
        id,
        ..Default::default()
    };
    archives.delete_archive(remove(archive.id)).await.unwrap();
    let back = fetch(client, &done.path, destination.clone()).await.unwrap();
    let told = told(archives, &back.id).await;
    delete(client, &done.path, destination.clone()).await.unwrap();
    told
}

/// Trees go to a destination and come back the same.
pub(crate) async fn come_back(
    archives: &mut client::Client,
    client: &mut Client,
    destination: &pb::Destination,
) {
    let config = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => Config::default(),
        None => Config::with_cases(FEW),
    };
    let config = Config {
        failure_persistence: None,
        max_shrink_iters: 100,
        ..config
    };
    let number = Cell::new(0);
    let handle = Handle::current();
    tokio::task::block_in_place(|| {
        let tried = TestRunner::new(config).run(&tree(), |tree| {
            number.set(number.get() + 1);
            let key = format!("tree-{}", number.get());
            let (mut archives, mut client) = (archives.clone(), client.clone());
            let back = handle.block_on(there_and_back(
                &mut archives,
                &mut client,
                destination,
                (&key, &tree),
            ));
            prop_assert!(back == tree, "{back:?}");
            Ok(())
        });
        tried.unwrap();
    });
}
