//! What was said once on the wire is said for ever: bridges, workloads and servers of different ages speak with each other.
//!
//! `testdata/baseline.txt` holds every field and every method of a released protocol, by name, number and type. A line of
//! it that is not true any more is a break. New fields and methods may come at any time; they are taken over into it with
//! `SATELLITE_BASELINE=renew cargo test -p satellite-proto --test baseline`, which only adds lines.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};
use satellite_proto::wire::DESCRIPTORS;

/// Packages between programs that are updated at different times. The command line is the server's own program.
const BETWEEN: [&str; 3] = ["satellite.bridge.v1", "satellite.backup.v1", "satellite.join.v1"];

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/baseline.txt")
}

fn now() -> BTreeSet<String> {
    let all = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let mut lines = BTreeSet::new();
    for file in all.file.iter().filter(|file| BETWEEN.contains(&file.package())) {
        let package = format!(".{}", file.package());
        for message in &file.message_type {
            of_message(&package, message, &mut lines);
        }
        for one in &file.enum_type {
            of_enum(&package, one, &mut lines);
        }
        for service in &file.service {
            for method in &service.method {
                let stream = |is: bool| if is { "stream " } else { "" };
                lines.insert(format!(
                    "rpc {package}.{}/{} {}{} -> {}{}",
                    service.name(),
                    method.name(),
                    stream(method.client_streaming()),
                    method.input_type(),
                    stream(method.server_streaming()),
                    method.output_type()
                ));
            }
        }
    }
    lines
}

fn of_message(parent: &str, message: &DescriptorProto, lines: &mut BTreeSet<String>) {
    let name = format!("{parent}.{}", message.name());
    for field in &message.field {
        let kind = match field.r#type() {
            Type::Message | Type::Enum => field.type_name().to_owned(),
            plain => plain.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
        };
        let many = if field.label() == Label::Repeated {
            "repeated "
        } else {
            ""
        };
        let group = field.oneof_index.map_or("", |_| "oneof ");
        lines.insert(format!(
            "field {name}.{} = {} {group}{many}{kind}",
            field.name(),
            field.number()
        ));
    }
    for nested in &message.nested_type {
        of_message(&name, nested, lines);
    }
    for one in &message.enum_type {
        of_enum(&name, one, lines);
    }
}

fn of_enum(parent: &str, one: &EnumDescriptorProto, lines: &mut BTreeSet<String>) {
    for value in &one.value {
        lines.insert(format!(
            "value {parent}.{}.{} = {}",
            one.name(),
            value.name(),
            value.number()
        ));
    }
}

#[test]
fn no_field_value_or_method_of_the_released_protocol_was_removed_or_changed() {
    let (now, path) = (now(), file());
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let kept: BTreeSet<String> = kept.lines().map(str::to_owned).collect();
    let lost: Vec<&str> = kept.difference(&now).map(String::as_str).collect();
    assert!(
        lost.is_empty(),
        "peers of the release before do not understand this any more:\n{}",
        lost.join("\n")
    );
    if std::env::var_os("SATELLITE_BASELINE").is_some_and(|wish| wish == "renew") {
        let text: Vec<&str> = now.iter().map(String::as_str).collect();
        #[expect(
            clippy::disallowed_methods,
            reason = "a file of the sources, renewed on request"
        )]
        std::fs::write(&path, text.join("\n") + "\n").unwrap();
        return;
    }
    assert!(kept.len() > 400, "where is {}?", path.display());
}

#[test]
fn no_number_of_a_message_is_used_twice_over_time() {
    let kept = std::fs::read_to_string(file()).unwrap();
    let mut numbers = std::collections::BTreeMap::new();
    for line in kept.lines().map(str::to_owned).chain(now()) {
        let Some((field, rest)) = line
            .strip_prefix("field ")
            .and_then(|line| line.split_once(" = "))
        else {
            continue;
        };
        let (message, name) = field.rsplit_once('.').unwrap();
        let number = rest.split(' ').next().unwrap();
        let before = numbers.insert((message.to_owned(), number.to_owned()), name.to_owned());
        assert!(
            before.as_ref().is_none_or(|before| before == name),
            "{message}: {number} was {before:?} and is {name}"
        );
    }
}
