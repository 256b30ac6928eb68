//! Which role may call which method: the second line behind the bridge's table. Deny by default.

use satellite_proto::identity::Role;
use satellite_proto::wire::ROLE_HEADER;
use tonic::{Request, Status};

/// Methods of the services of `satellite.backup.v1` and the least role of each; no two services have one of a name.
pub const METHODS: &[(&str, Role)] = &[
    ("CreateArchive", Role::Operator),
    ("ListArchives", Role::Viewer),
    ("GetArchive", Role::Viewer),
    ("DownloadArchive", Role::Operator),
    ("SealArchive", Role::Operator),
    ("FindMembers", Role::Operator),
    ("ReadArchive", Role::Operator),
    ("VerifyArchive", Role::Operator),
    ("DeleteArchive", Role::Admin),
    ("GetStorage", Role::Viewer),
    ("TestDestination", Role::Operator),
    ("GetSpace", Role::Operator),
    ("CopyArchive", Role::Operator),
    ("ListCopies", Role::Operator),
    ("FetchCopy", Role::Operator),
    ("VerifyCopy", Role::Operator),
    ("DeleteCopy", Role::Admin),
    ("BeginDropbox", Role::Operator),
    ("FinishDropbox", Role::Operator),
    ("TestCentral", Role::Operator),
    ("MeasureCentral", Role::Operator),
    ("PullArchive", Role::Operator),
    ("PushArchive", Role::Operator),
    ("RemoveArchived", Role::Admin),
];

/// Checks the caller's role, which the bridge adds. `local` is the role of callers without one: nobody by default, as
/// on a satellite every call comes through the bridge.
///
/// # Errors
/// `PERMISSION_DENIED`.
pub fn check<T>(request: &Request<T>, method: &str, local: Option<Role>) -> Result<(), Status> {
    let values: Vec<_> = request.metadata().get_all(ROLE_HEADER).iter().collect();
    let role = match values.as_slice() {
        [] => local,
        [one] => one.to_str().ok().and_then(|text| text.parse().ok()),
        _ => None,
    };
    let least = METHODS
        .iter()
        .find(|(name, _)| *name == method)
        .map(|(_, least)| *least);
    match (role, least) {
        (Some(role), Some(least)) if role >= least => Ok(()),
        (None, _) => Err(Status::permission_denied(
            "the call carries no role: it did not come through the bridge",
        )),
        (Some(role), _) => Err(Status::permission_denied(format!(
            "the role {role} may not call {method}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn every_method_of_the_contract_has_a_row() {
        let set = prost_types::FileDescriptorSet::decode(satellite_proto::wire::DESCRIPTORS).unwrap();
        let ours = set.file.iter().filter(|f| f.package() == "satellite.backup.v1");
        let services = ours.flat_map(|f| &f.service);
        let mut methods: Vec<_> = services
            .flat_map(|s| &s.method)
            .map(|m| m.name().to_owned())
            .collect();
        let mut rows: Vec<_> = METHODS.iter().map(|(name, _)| (*name).to_owned()).collect();
        methods.sort();
        rows.sort();
        assert_eq!(rows, methods);
    }

    #[test]
    fn a_call_without_or_with_two_roles_is_refused() {
        let mut request = Request::new(());
        assert!(check(&request, "ListArchives", None).is_err());
        assert!(check(&request, "ListArchives", Some(Role::Viewer)).is_ok());
        request
            .metadata_mut()
            .insert(ROLE_HEADER, "operator".parse().unwrap());
        assert!(check(&request, "CreateArchive", None).is_ok());
        assert!(check(&request, "DeleteArchive", Some(Role::Admin)).is_err());
        assert!(check(&request, "Unknown", None).is_err());
        request
            .metadata_mut()
            .append(ROLE_HEADER, "admin".parse().unwrap());
        assert!(check(&request, "ListArchives", None).is_err());
        request
            .metadata_mut()
            .insert(ROLE_HEADER, "root".parse().unwrap());
        assert!(check(&request, "ListArchives", Some(Role::Admin)).is_err());
    }
}
