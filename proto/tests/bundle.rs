//! Bundles as a stranger may hand them over: only whole, well-formed ones signed by trusted keys are believed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Cursor;
use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;
use satellite_proto::bundle::{
    BundleError, BundleReader, ChunkEntry, Digest, KeyPair, Manifest, Recipe, SecretKey, TrustAnchors, build,
    key_id, pack_chunk, unpack_chunk, verify,
};

const RECIPE: &str = r#"
workload = "echo"
version = "1.2.3"
channel = "stable"
release = 7
architecture = "x86_64"
least_bridge = "0.1.0"
api = ["example.echo.v1"]
logs = ["echo.log"]
[unit]
exec = "bin/echo"
args = ["serve"]
[health]
start_seconds = 30
settle_seconds = 1
grpc = "example.echo.v1.EchoService"
[[firewall]]
name = "echo"
direction = "in"
protocol = "tcp"
ports = [{ first = 7, last = 7 }]
[state]
snapshot = ["db"]
"#;

struct Releaser {
    key: SecretKey,
    anchors: TrustAnchors,
}

fn releaser() -> Releaser {
    let pair = KeyPair::generate(None).unwrap();
    let key = SecretKey::from_file_text(&pair.secret_file, None).unwrap();
    Releaser {
        key,
        anchors: TrustAnchors::new(vec![pair.public_key], 1).unwrap(),
    }
}

fn payload(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(dir.join("bin")).unwrap();
    let noise: Vec<u8> = (0..300_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    put(&dir.join("bin/echo"), &noise);
    std::fs::set_permissions(dir.join("bin/echo"), std::fs::Permissions::from_mode(0o755)).unwrap();
    put(&dir.join("a.txt"), b"hello");
    put(&dir.join("empty"), b"");
}

#[expect(clippy::disallowed_methods, reason = "a test's own scratch file")]
fn put(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

fn bundle(releaser: &Releaser) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    payload(dir.path());
    let mut out = Vec::new();
    build(
        &Recipe::from_toml(RECIPE).unwrap(),
        dir.path(),
        std::slice::from_ref(&releaser.key),
        &mut out,
    )
    .unwrap();
    out
}

/// Reads a bundle to its end as whoever installs it would.
fn read(bytes: &[u8], anchors: &TrustAnchors) -> Result<Vec<(String, u32, Vec<u8>)>, BundleError> {
    let reader = BundleReader::open(Cursor::new(bytes))?;
    let manifest = verify(reader.manifest_bytes(), reader.signatures(), anchors)?;
    let mut chunks = Vec::new();
    for chunk in reader.chunks(&manifest) {
        let (entry, frame) = chunk?;
        chunks.push(unpack_chunk(&entry, &frame)?);
    }
    let mut files = Vec::new();
    for file in &manifest.files {
        let content: Vec<u8> = file
            .chunks
            .iter()
            .flat_map(|index| chunks[usize::try_from(*index).unwrap()].to_vec())
            .collect();
        assert_eq!(Digest::of(&content), file.digest);
        files.push((file.path.clone(), file.mode, content));
    }
    Ok(files)
}

/// The manifest of `bundle` after `change` to its JSON, signed again: what a releaser who errs or means ill could sign.
fn refused_manifest(change: impl FnOnce(&mut serde_json::Value)) -> String {
    let releaser = releaser();
    let bytes = bundle(&releaser);
    let reader = BundleReader::open(Cursor::new(&bytes)).unwrap();
    let mut manifest = Manifest::parse(reader.manifest_bytes()).unwrap();
    let mut json = serde_json::to_value(&manifest).unwrap();
    change(&mut json);
    // Through the type where it can hold the change, so that the refusal is not only about canonical form.
    let bytes = match serde_json::from_value::<Manifest>(json.clone()) {
        Ok(changed) => {
            manifest = changed;
            manifest.to_bytes().unwrap()
        }
        Err(_) => serde_json::to_vec(&json).unwrap(),
    };
    let signature = releaser.key.sign(&bytes, "changed").unwrap();
    match verify(&bytes, &[signature], &releaser.anchors) {
        Err(BundleError::Manifest(fault)) => fault,
        other => panic!("accepted or refused for another reason: {other:?}"),
    }
}

#[test]
fn what_is_packed_is_what_is_read() {
    let releaser = releaser();
    let files = read(&bundle(&releaser), &releaser.anchors).unwrap();
    let shape: Vec<_> = files
        .iter()
        .map(|(path, mode, content)| (path.as_str(), *mode, content.len()))
        .collect();
    assert_eq!(
        shape,
        [
            ("a.txt", 0o644, 5),
            ("bin/echo", 0o755, 1_200_000),
            ("empty", 0o644, 0)
        ]
    );
}

#[test]
fn the_payload_alone_decides_the_manifest() {
    let (one, other) = (releaser(), releaser());
    let manifest = |bytes: &[u8]| {
        BundleReader::open(Cursor::new(bytes))
            .unwrap()
            .manifest_bytes()
            .clone()
    };
    assert_eq!(manifest(&bundle(&one)), manifest(&bundle(&other)));
}

#[test]
fn another_key_is_not_trusted() {
    let (ours, theirs) = (releaser(), releaser());
    let result = read(&bundle(&theirs), &ours.anchors);
    assert!(
        matches!(result, Err(BundleError::Untrusted { valid: 0, needed: 1 })),
        "{result:?}"
    );
}

#[test]
fn the_same_key_twice_does_not_make_a_threshold_of_two() {
    let (one, other) = (releaser(), releaser());
    let anchors = TrustAnchors::new(vec![one.key.public_key(), other.key.public_key()], 2).unwrap();
    let dir = tempfile::tempdir().unwrap();
    payload(dir.path());
    let recipe = Recipe::from_toml(RECIPE).unwrap();
    let again = SecretKey::from_file_text(&KeyPair::generate(None).unwrap().secret_file, None).unwrap();
    let mut out = Vec::new();
    build(&recipe, dir.path(), &[one.key, again], &mut out).unwrap();
    let reader = BundleReader::open(Cursor::new(&out)).unwrap();
    let signature = reader.signatures()[0].clone();
    let result = verify(reader.manifest_bytes(), &[signature.clone(), signature], &anchors);
    assert!(
        matches!(result, Err(BundleError::Untrusted { valid: 1, needed: 2 })),
        "{result:?}"
    );
}

#[test]
fn two_keys_make_a_threshold_of_two() {
    let (one, other) = (releaser(), releaser());
    let anchors = TrustAnchors::new(vec![one.key.public_key(), other.key.public_key()], 2).unwrap();
    let dir = tempfile::tempdir().unwrap();
    payload(dir.path());
    let mut out = Vec::new();
    build(
        &Recipe::from_toml(RECIPE).unwrap(),
        dir.path(),
        &[one.key, other.key],
        &mut out,
    )
    .unwrap();
    assert_eq!(read(&out, &anchors).unwrap().len(), 3);
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    let releaser = releaser();
    let bytes = bundle(&releaser);
    let chunks_begin = bytes.windows(7).position(|window| window == b"chunks/").unwrap();
    // All of manifest and signatures, the first chunk's header, the end; of the bulk one byte in 997.
    let dense = (0..chunks_begin + 600).chain(bytes.len() - 1100..bytes.len());
    let places: Vec<usize> = dense
        .chain((chunks_begin + 600..bytes.len() - 1100).step_by(997))
        .collect();
    let mut tried = 0;
    for place in places {
        let mut bad = bytes.clone();
        bad[place] ^= 1 << (place % 8);
        if read(&bad, &releaser.anchors).is_ok() {
            // minisign's first line of a signature is declared to be untrusted: nothing may depend on it.
            let line = bytes[..place]
                .iter()
                .rposition(|byte| matches!(byte, b'\n' | 0))
                .map_or(0, |end| end + 1);
            assert!(
                bytes[line..].starts_with(b"untrusted comment: "),
                "byte {place} is not covered"
            );
        }
        tried += 1;
    }
    assert!(tried > 3000, "{tried}");
}

#[test]
fn a_truncated_bundle_is_refused_at_every_block() {
    let releaser = releaser();
    let bytes = bundle(&releaser);
    for length in (0..bytes.len()).step_by(512).chain([1, 511, bytes.len() - 1]) {
        assert!(
            read(&bytes[..length], &releaser.anchors).is_err(),
            "{length} of {}",
            bytes.len()
        );
    }
}

#[test]
fn trailing_bytes_are_refused() {
    let releaser = releaser();
    let bytes = bundle(&releaser);
    for tail in [vec![0], vec![0; 512], b"more".to_vec(), bytes.clone()] {
        let longer = [bytes.clone(), tail].concat();
        assert!(matches!(
            read(&longer, &releaser.anchors),
            Err(BundleError::Structure(_))
        ));
    }
}

#[test]
fn a_member_that_is_a_link_or_a_device_is_refused() {
    let releaser = releaser();
    let bytes = bundle(&releaser);
    let header = bytes.windows(7).position(|window| window == b"chunks/").unwrap();
    for kind in [b'1', b'2', b'3', b'4', b'5', b'6', b'x', b'g', b'L', 0] {
        let mut bad = bytes.clone();
        bad[header + 156] = kind;
        let mut tar_header = tar::Header::from_byte_slice(&bad[header..header + 512]).clone();
        tar_header.set_cksum();
        bad[header..header + 512].copy_from_slice(tar_header.as_bytes());
        assert!(
            matches!(read(&bad, &releaser.anchors), Err(BundleError::Structure(_))),
            "type {kind}"
        );
    }
}

#[test]
fn paths_that_leave_the_payload_are_refused() {
    for path in [
        "../x",
        "/etc/passwd",
        "a/../../b",
        "a//b",
        "",
        ".",
        "a/.",
        "x\u{0}y",
        "x\ny",
        "ä",
        "a b",
    ] {
        let fault = refused_manifest(|json| json["files"][2]["path"] = path.into());
        assert!(
            fault.contains("not a plain relative one") || fault.contains("order"),
            "{path}: {fault}"
        );
    }
}

#[test]
fn a_file_that_is_also_a_directory_is_refused() {
    let fault = refused_manifest(|json| json["files"][0]["path"] = "bin".into());
    assert!(fault.contains("a file and a directory"), "{fault}");
}

#[test]
fn modes_beyond_plain_files_are_refused() {
    for mode in [0o4755, 0o2755, 0o1755, 0o777, 0o600, 0o120_777, 0] {
        let fault = refused_manifest(|json| json["files"][1]["mode"] = mode.into());
        assert!(fault.contains("only 644 and 755"), "{fault}");
    }
}

#[test]
fn links_and_devices_cannot_be_expressed() {
    for field in ["link", "target", "type", "device", "uid"] {
        let fault = refused_manifest(|json| json["files"][1][field] = "/etc/passwd".into());
        assert!(fault.contains("unknown field"), "{fault}");
    }
}

#[test]
fn sizes_at_and_beyond_two_to_the_32_are_refused() {
    for size in [
        0,
        1 << 31,
        1 << 32,
        (1 << 32) + 1,
        (1 << 32) + 1_200_000,
        1 << 63,
        u64::MAX,
    ] {
        let fault = refused_manifest(|json| json["files"][1]["size"] = size.into());
        assert!(fault.contains("its chunks have 1200000"), "{size}: {fault}");
    }
    for size in [0, 256 * 1024 + 1, u64::from(u32::MAX)] {
        let fault = refused_manifest(|json| json["chunks"][0]["size"] = size.into());
        assert!(fault.contains("chunk "), "{size}: {fault}");
    }
    for size in [1_u64 << 32, (1 << 32) + 1, u64::MAX] {
        let fault = refused_manifest(|json| json["chunks"][0]["size"] = size.into());
        assert!(fault.contains("malformed"), "{size}: {fault}");
    }
}

#[test]
fn chunks_out_of_place_are_refused() {
    let swapped = refused_manifest(|json| json["chunks"].as_array_mut().unwrap().swap(0, 1));
    assert!(
        swapped.contains("bytes") || swapped.contains("order"),
        "{swapped}"
    );
    let unused = refused_manifest(|json| {
        let extra = serde_json::json!({ "digest": Digest::of(b"extra").to_string(), "size": 5 });
        json["chunks"].as_array_mut().unwrap().push(extra);
    });
    assert!(unused.contains("no file needs"), "{unused}");
    let outside = refused_manifest(|json| json["files"][1]["chunks"][0] = 999_999.into());
    assert!(outside.contains("not listed"), "{outside}");
}

#[test]
fn what_a_bundle_may_not_ask_for_is_refused_by_name() {
    type Change = fn(&mut serde_json::Value);
    let cases: [(&str, Change); 12] = [
        ("format 2", |json| json["format"] = 2.into()),
        ("release", |json| json["release"] = 0.into()),
        ("channel", |json| json["channel"] = "Stable!".into()),
        ("architecture", |json| json["architecture"] = "../x".into()),
        ("not in the payload", |json| {
            json["unit"]["exec"] = "bin/sh".into()
        }),
        ("not executable", |json| json["unit"]["exec"] = "a.txt".into()),
        ("not printable", |json| {
            json["unit"]["args"][0] = "x\nExecStartPre=+/bin/sh".into()
        }),
        ("LD_PRELOAD", |json| {
            json["unit"]["environment"]["LD_PRELOAD"] = "x".into()
        }),
        ("satellite.bridge.v1", |json| {
            json["api"][0] = "satellite.bridge.v1".into()
        }),
        ("start_seconds", |json| json["health"]["start_seconds"] = 0.into()),
        ("firewall rule", |json| {
            json["firewall"][0]["ports"][0]["first"] = 0.into()
        }),
        ("snapshot", |json| {
            json["state"]["snapshot"][0] = "../other".into()
        }),
    ];
    for (expected, change) in cases {
        let fault = refused_manifest(change);
        assert!(fault.contains(expected), "{expected}: {fault}");
    }
}

#[test]
fn a_manifest_in_another_form_than_the_canonical_one_is_refused() {
    let releaser = releaser();
    let bytes = bundle(&releaser);
    let reader = BundleReader::open(Cursor::new(&bytes)).unwrap();
    let plain = String::from_utf8(reader.manifest_bytes().to_vec()).unwrap();
    for bad in [
        format!(" {plain}"),
        format!("{plain}\n"),
        plain.replacen("\"format\":1", "\"format\": 1", 1),
    ] {
        let signature = releaser.key.sign(bad.as_bytes(), "spaced").unwrap();
        let result = verify(bad.as_bytes(), &[signature], &releaser.anchors);
        assert!(matches!(result, Err(BundleError::Manifest(_))), "{bad:.40}");
    }
    let twice = plain.replacen("{\"format\":1,", "{\"format\":1,\"format\":1,", 1);
    let signature = releaser.key.sign(twice.as_bytes(), "twice").unwrap();
    assert!(verify(twice.as_bytes(), &[signature], &releaser.anchors).is_err());
}

#[test]
fn a_decompression_bomb_takes_no_more_than_the_listed_size() {
    let bomb = zstd::bulk::compress(&vec![0; 512 << 20], 19).unwrap();
    let entry = ChunkEntry {
        digest: Digest::of(&[0; 1000]),
        size: 1000,
    };
    let result = unpack_chunk(&entry, &bomb);
    assert!(matches!(result, Err(BundleError::Chunk { .. })), "{result:?}");
    let small_bomb = zstd::bulk::compress(&vec![0; 4 << 20], 19).unwrap();
    assert!(unpack_chunk(&entry, &small_bomb).is_err());
}

#[test]
fn lists_of_keys_are_checked() {
    let key = KeyPair::generate(None).unwrap().public_key;
    assert!(TrustAnchors::from_toml(&format!("threshold = 1\nkeys = [\"{key}\"]")).is_ok());
    for bad in [
        format!("threshold = 0\nkeys = [\"{key}\"]"),
        format!("threshold = 2\nkeys = [\"{key}\"]"),
        format!("threshold = 2\nkeys = [\"{key}\", \"{key}\"]"),
        "threshold = 1\nkeys = [\"x\"]".to_owned(),
        format!("threshold = 1\nkeys = [\"{key}\"]\nroot = true"),
        "keys = []".to_owned(),
    ] {
        assert!(TrustAnchors::from_toml(&bad).is_err(), "{bad}");
    }
    assert_eq!(key_id(&key).unwrap().len(), 16);
}

#[test]
fn a_secret_key_with_a_password_needs_it() {
    // minisign derives the key from the password by scrypt with its own cost: one try each is enough here.
    let pair = KeyPair::generate(Some("correct".to_owned())).unwrap();
    assert!(SecretKey::from_file_text(&pair.secret_file, None).is_err());
    assert!(SecretKey::from_file_text(&pair.secret_file, Some("correct".to_owned())).is_ok());
}

#[test]
fn the_published_vector_is_read_as_published() {
    let bytes = include_bytes!("../testdata/echo-1.2.3.bundle");
    let text = include_str!("../testdata/bundle.json");
    let expected: serde_json::Value = serde_json::from_str(text).unwrap();
    let anchors = TrustAnchors::new(vec![expected["public_key"].as_str().unwrap().to_owned()], 1).unwrap();
    let reader = BundleReader::open(Cursor::new(&bytes[..])).unwrap();
    let digest = satellite_proto::bundle::digest_of_manifest(reader.manifest_bytes());
    assert_eq!(digest.to_string(), expected["manifest_digest"].as_str().unwrap());
    let files = read(bytes, &anchors).unwrap();
    let listed: Vec<_> = files
        .iter()
        .map(|(path, mode, content)| {
            serde_json::json!({ "path": path, "mode": format!("{mode:o}"), "sha256": Digest::of(content).to_string() })
        })
        .collect();
    assert_eq!(serde_json::Value::Array(listed), expected["files"]);
}

proptest! {
    #[test]
    fn any_chunk_comes_back_and_no_other_bytes_do(data in proptest::collection::vec(any::<u8>(), 1..5000), flip: usize) {
        let entry = ChunkEntry { digest: Digest::of(&data), size: u32::try_from(data.len()).unwrap() };
        let frame = pack_chunk(&data).unwrap();
        prop_assert_eq!(&unpack_chunk(&entry, &frame).unwrap()[..], &data[..]);
        let mut other = data.clone();
        let place = flip % other.len();
        other[place] ^= 1;
        prop_assert!(unpack_chunk(&entry, &pack_chunk(&other).unwrap()).is_err());
    }

    #[test]
    fn noise_is_never_a_bundle_and_never_a_panic(noise in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let releaser = TrustAnchors::new(vec![KeyPair::generate(None).unwrap().public_key], 1).unwrap();
        prop_assert!(read(&noise, &releaser).is_err());
        prop_assert!(verify(&noise, &[Bytes::from(noise.clone())], &releaser).is_err());
    }
}
