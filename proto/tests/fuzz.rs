//! What comes from outside, changed at random, from a committed corpus: whoever reads it ends, and believes nothing that
//! nobody signed. `make fuzz` tries a hundred thousand times as much.
#![expect(clippy::unwrap_used, reason = "a test")]

mod changes;

use bytes::Bytes;
use changes::changed;
use proptest::prelude::*;
use prost::Message;
use satellite_proto::bundle::{
    BundleReader, ChunkEntry, Digest, Downgrade, Keys, Manifest, Root, TrustAnchors, unpack_chunk, verify,
};
use satellite_proto::join::Token;
use satellite_proto::pairing::Code;
use satellite_proto::wire::bridge::v1 as wire;

/// The files of a part of the corpus.
fn corpus(part: &str) -> Vec<Vec<u8>> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata/corpus")
        .join(part);
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// The bundle of the vectors.
fn bundle() -> Vec<u8> {
    include_bytes!("../testdata/echo-1.2.3.bundle").to_vec()
}

/// The key that has signed it.
fn anchors() -> TrustAnchors {
    let vector: serde_json::Value = serde_json::from_str(include_str!("../testdata/bundle.json")).unwrap();
    let key = vector["public_key"].as_str().unwrap().to_owned();
    TrustAnchors::new(vec![key], 1).unwrap()
}

proptest! {
    #[test]
    fn a_manifest_is_read_as_it_is_written_or_refused(bytes in changed(corpus("manifest"))) {
        if let Ok(manifest) = Manifest::parse(&bytes) {
            prop_assert_eq!(manifest.to_bytes().unwrap(), bytes);
        }
    }

    #[test]
    fn a_changed_manifest_or_signature_is_believed_by_nobody(
        manifest in changed(corpus("manifest")),
        signature in changed(corpus("signature")),
    ) {
        let (good_manifest, good_signature) = (corpus("manifest").remove(0), corpus("signature").remove(0));
        let good = Bytes::from(good_signature.clone());
        if manifest != good_manifest {
            prop_assert!(verify(&manifest, &[good], &anchors()).is_err());
        }
        // The first line is a comment that nobody vouches for, and so are blanks at the ends of the others.
        let signed = |bytes: &[u8]| -> Vec<String> {
            let text = String::from_utf8_lossy(bytes).into_owned();
            text.lines().skip(1).take(3).map(|line| line.trim().to_owned()).collect()
        };
        if is_believed(&signature, &good_manifest) {
            prop_assert_eq!(signed(&signature), signed(&good_signature));
        }
    }

    #[test]
    fn a_bundle_that_was_changed_is_refused_before_its_end(bytes in changed(vec![bundle()])) {
        let read = || {
            let reader = BundleReader::open(bytes.as_slice()).ok()?;
            let (manifest, signatures) = (reader.manifest_bytes().clone(), reader.signatures().to_vec());
            let manifest = verify(&manifest, &signatures, &anchors()).ok()?;
            let mut chunks = reader.chunks(&manifest);
            let whole = chunks.all(|chunk| chunk.is_ok_and(|(entry, frame)| unpack_chunk(&entry, &frame).is_ok()));
            whole.then_some(())
        };
        let comment = |bytes: &[u8]| bytes.iter().take(4096).copied().collect::<Vec<_>>();
        if read().is_some() {
            // Only the comments at the head of a signature file may differ.
            prop_assert_eq!(bytes.len(), bundle().len());
            prop_assert!(bytes == bundle() || comment(&bytes) != comment(&bundle()));
        }
    }

    #[test]
    fn a_chunk_never_becomes_more_than_is_listed(bytes in prop::collection::vec(any::<u8>(), 0..512), size in 0..4096_u32) {
        let entry = ChunkEntry { digest: Digest::of(&bytes), size };
        if let Ok(data) = unpack_chunk(&entry, &bytes) {
            prop_assert_eq!(data.len(), size as usize);
            prop_assert_eq!(Digest::of(&data), entry.digest);
        }
    }

    #[test]
    fn documents_are_read_as_they_are_written_or_refused(bytes in changed(corpus("document"))) {
        let written = [
            Root::parse(&bytes).ok().map(|root| root.to_bytes().unwrap()),
            Keys::parse(&bytes).ok().map(|keys| keys.to_bytes().unwrap()),
            Downgrade::parse(&bytes).ok().map(|permit| permit.to_bytes().unwrap()),
        ];
        let read: Vec<_> = written.into_iter().flatten().collect();
        prop_assert!(read.len() <= 1, "a document is of one kind");
        prop_assert!(read.iter().all(|written| *written == bytes));
    }

    #[test]
    fn a_token_that_was_changed_is_the_same_or_none(bytes in changed(corpus("token"))) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Ok(token) = text.parse::<Token>() {
            prop_assert_eq!(token.to_string().parse::<Token>().unwrap().id(), token.id());
        }
    }

    #[test]
    fn codes_and_messages_of_pairing_are_read_or_refused(
        code in changed(corpus("code")),
        message in changed(corpus("pairing")),
    ) {
        if let Ok(code) = String::from_utf8_lossy(&code).parse::<Code>() {
            prop_assert!(code.to_string().parse::<Code>().is_ok());
        }
        if let Ok(request) = wire::PairRequest::decode(message.as_slice()) {
            let again = wire::PairRequest::decode(request.encode_to_vec().as_slice()).unwrap();
            prop_assert_eq!(again, request);
        }
        let _refused_or_not = wire::PairResponse::decode(message.as_slice());
    }
}

fn is_believed(signature: &[u8], manifest: &[u8]) -> bool {
    verify(manifest, &[Bytes::copy_from_slice(signature)], &anchors()).is_ok()
}

#[test]
fn the_corpus_is_what_readers_take() {
    for manifest in corpus("manifest") {
        Manifest::parse(&manifest).unwrap();
    }
    assert!(is_believed(&corpus("signature")[0], &corpus("manifest")[0]));
    for token in corpus("token") {
        String::from_utf8(token).unwrap().parse::<Token>().unwrap();
    }
    for code in corpus("code") {
        String::from_utf8(code).unwrap().parse::<Code>().unwrap();
    }
    let documents = corpus("document");
    Downgrade::parse(&documents[0]).unwrap();
    Keys::parse(&documents[1]).unwrap();
    Root::parse(&documents[2]).unwrap();
}
