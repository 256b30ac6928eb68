//! Against the `age` of Debian: what we write it opens, what it writes we open, and nothing that was changed.

use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn content(length: usize) -> Vec<u8> {
    (0..length as u64)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect()
}

/// A key made by `age-keygen`: the file with it, and the recipient.
#[expect(clippy::disallowed_methods, reason = "a test against a program")]
fn keygen(directory: &Path, name: &str) -> (String, Recipient) {
    let path = directory.join(name);
    let made = Command::new("age-keygen").arg("-o").arg(&path).output().unwrap();
    let said = String::from_utf8(made.stderr).unwrap();
    let recipient = said.trim().rsplit(' ').next().unwrap().parse().unwrap();
    (std::fs::read_to_string(&path).unwrap(), recipient)
}

#[expect(clippy::disallowed_methods, reason = "a test against a program")]
fn age(words: &[&str], input: &[u8]) -> Result<Vec<u8>, String> {
    let mut age = Command::new("age");
    age.args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = age.spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let feed = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let done = child.wait_with_output().unwrap();
    feed.join().unwrap();
    if done.status.success() {
        Ok(done.stdout)
    } else {
        Err(String::from_utf8_lossy(&done.stderr).into_owned())
    }
}

fn whole(sealed: &Sealed) -> Vec<u8> {
    sealed.read(0, usize::try_from(sealed.size()).unwrap()).unwrap()
}

fn opened(bytes: &[u8], keys: &Keys) -> Result<Vec<u8>, AgeError> {
    let mut to = tempfile::tempfile().unwrap();
    open(&file(bytes), &mut to, keys)?;
    let mut plain = Vec::new();
    to.rewind().unwrap();
    to.read_to_end(&mut plain).unwrap();
    Ok(plain)
}

const SIZES: [usize; 7] = [0, 1, 65_535, 65_536, 65_537, 131_072, 300_001];

#[test]
fn what_is_written_here_age_opens_and_the_other_way_round() {
    let dir = tempfile::tempdir().unwrap();
    let (secret, recipient) = keygen(dir.path(), "one");
    let (other_secret, other) = keygen(dir.path(), "other");
    let identity = dir.path().join("other").display().to_string();
    let keys = |text: &str| Keys {
        identities: Identity::read(text).unwrap(),
        passphrase: None,
    };
    for size in SIZES {
        let plain = content(size);
        let whom = For::Recipients(vec![recipient.clone(), other.clone()]);
        let sealed = seal(&file(&plain), &whom).unwrap();
        let bytes = whole(&sealed);
        assert_eq!(bytes.len() as u64, sealed.size());
        assert!(is_age(&bytes));
        assert!(age(&["-d", "-i", &identity], &bytes).unwrap() == plain, "{size}");
        for secret in [&secret, &other_secret] {
            assert!(opened(&bytes, &keys(secret)).unwrap() == plain, "{size}");
        }
        let theirs = age(&["-r", recipient.as_str()], &plain).unwrap();
        assert!(opened(&theirs, &keys(&secret)).unwrap() == plain, "{size}");
        let refused = opened(&theirs, &keys(&other_secret));
        assert!(matches!(refused, Err(AgeError::NoKey(_))), "{refused:?}");
    }
}

#[test]
fn a_passphrase_opens_its_file_and_no_other_does() {
    let passphrase = |text: &str| Keys {
        identities: Vec::new(),
        passphrase: Some(Secret::new(text.to_owned())),
    };
    let whom = For::Passphrase(Secret::new("correct horse battery staple".into()));
    let plain = content(100_000);
    let bytes = whole(&seal(&file(&plain), &whom).unwrap());
    assert!(opened(&bytes, &passphrase("correct horse battery staple")).unwrap() == plain);
    for wrong in [passphrase("correct horse battery stable"), Keys::default()] {
        assert!(matches!(opened(&bytes, &wrong), Err(AgeError::NoKey(_))));
    }
    assert!(!format!("{whom:?} {:?}", passphrase("secret words")).contains("words"));
}

#[test]
fn any_part_of_a_file_is_what_it_is_in_the_whole_and_the_same_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let (_, recipient) = keygen(dir.path(), "one");
    let plain = file(&content(200_000));
    let sealed = seal(&plain, &For::Recipients(vec![recipient])).unwrap();
    let bytes = whole(&sealed);
    let (key, head) = sealed.kept();
    let again = Sealed::again(&plain, key, head.to_vec()).unwrap();
    for (at, length) in [
        (0, 10),
        (3, 300),
        (100, 70_000),
        (65_700, 66_000),
        (200_000, 1 << 20),
        (1 << 30, 5),
    ] {
        let end = (at + length).min(bytes.len());
        let part = bytes.get(at..end).unwrap_or_default();
        assert!(again.read(at as u64, length).unwrap() == part, "{at} {length}");
    }
}

#[test]
fn a_file_that_was_changed_or_cut_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (secret, recipient) = keygen(dir.path(), "one");
    let keys = Keys {
        identities: Identity::read(&secret).unwrap(),
        passphrase: None,
    };
    let sealed = seal(&file(&content(70_000)), &For::Recipients(vec![recipient])).unwrap();
    let bytes = whole(&sealed);
    for at in (0..400).chain([65_000, 66_000, bytes.len() - 1]) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(opened(&changed, &keys).is_err(), "{at}");
    }
    for length in [0, 10, 100, 200, 220, 65_700, 65_800, bytes.len() - 1] {
        assert!(opened(&bytes[..length], &keys).is_err(), "{length}");
    }
    let longer = [&bytes[..], b"x"].concat();
    assert!(opened(&longer, &keys).is_err());
}

#[test]
fn only_whole_keys_are_taken_and_none_is_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let (secret, recipient) = keygen(dir.path(), "one");
    let text = recipient.as_str();
    let mixed = text.replacen('a', "A", 1);
    for bad in [
        "",
        "age1",
        "ssh-ed25519 AAAA",
        &text[..text.len() - 1],
        &text.to_uppercase(),
        &mixed,
    ] {
        assert!(bad.parse::<Recipient>().is_err(), "{bad}");
    }
    let line = secret.lines().last().unwrap();
    let mut flipped = line.to_owned().into_bytes();
    flipped[20] = if flipped[20] == b'Q' { b'P' } else { b'Q' };
    let flipped = String::from_utf8(flipped).unwrap();
    for bad in ["", "# nothing", &flipped, &line.to_lowercase(), text] {
        let refused = Identity::read(bad).unwrap_err().to_string();
        assert!(!refused.contains(line) && !refused.contains(&flipped));
    }
    let shown = format!("{:?}", Identity::read(&secret).unwrap());
    assert_eq!(shown, "[Identity(…)]");
}
