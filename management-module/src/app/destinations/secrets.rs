//! What in a destination's description is secret.
//!
//! **Invariant:** every field of type `Secret` is listed here: a test goes through the descriptors.

use satellite_proto::wire::backup::v1::destination::Kind;
use satellite_proto::wire::backup::v1::{Destination, Secret};

/// The secrets of a description, by name.
fn slots(whole: &mut Destination) -> Vec<(&'static str, &mut Option<Secret>)> {
    match &mut whole.kind {
        None | Some(Kind::Directory(_) | Kind::Usb(_)) => Vec::new(),
        Some(Kind::Smb(one)) => vec![("password", &mut one.password)],
        Some(Kind::Sftp(one)) => vec![
            ("password", &mut one.password),
            ("private_key", &mut one.private_key),
            ("passphrase", &mut one.passphrase),
        ],
        Some(Kind::Dropbox(one)) => vec![
            ("app_secret", &mut one.app_secret),
            ("refresh_token", &mut one.refresh_token),
        ],
        Some(Kind::Mail(one)) => vec![("password", &mut one.password)],
        Some(Kind::S3(one)) => vec![("secret_key", &mut one.secret_key)],
        Some(Kind::Webdav(one)) => vec![("password", &mut one.password)],
    }
}

/// Takes the secrets out and answers the names of those that were there.
pub(super) fn strip(whole: &mut Destination) -> Vec<&'static str> {
    let taken = slots(whole).into_iter().filter_map(|(name, slot)| {
        let secret = slot.take()?;
        (!secret.value.is_empty()).then_some(name)
    });
    taken.collect()
}

/// A secret that is not set stays as it was, where the kind is the same.
pub(super) fn inherit(whole: &mut Destination, known: &Destination) {
    let mut known = known.clone();
    let of = |kind: &Option<Kind>| kind.as_ref().map(std::mem::discriminant);
    if of(&whole.kind) != of(&known.kind) {
        return;
    }
    for ((_, slot), (_, old)) in slots(whole).into_iter().zip(slots(&mut known)) {
        if slot.is_none() {
            *slot = old.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use satellite_proto::wire::backup::v1 as pb;

    use super::*;

    #[test]
    fn every_secret_field_is_known_here() {
        let descriptors = prost_types::FileDescriptorSet::decode(satellite_proto::wire::DESCRIPTORS).unwrap();
        let messages = descriptors.file.iter().flat_map(|file| &file.message_type);
        let destinations = messages.filter(|message| message.name().ends_with("Destination"));
        let secrets = destinations
            .flat_map(|message| &message.field)
            .filter(|field| field.type_name() == ".satellite.backup.v1.Secret");
        let kinds = [
            Kind::Directory(pb::DirectoryDestination::default()),
            Kind::Smb(pb::SmbDestination::default()),
            Kind::Sftp(pb::SftpDestination::default()),
            Kind::Dropbox(pb::DropboxDestination::default()),
            Kind::Usb(pb::UsbDestination::default()),
            Kind::Mail(pb::MailDestination::default()),
            Kind::S3(pb::S3Destination::default()),
            Kind::Webdav(pb::WebDavDestination::default()),
        ];
        let known: usize = kinds
            .into_iter()
            .map(|kind| {
                slots(&mut Destination {
                    kind: Some(kind),
                    ..Destination::default()
                })
                .len()
            })
            .sum();
        assert_eq!(secrets.count(), known);
    }
}
