//! Copies sent as mail: to a server with STARTTLS, TLS, sign-in and a limit.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod client;
mod destinations;
mod servers;
mod support;

use client::{Service, create, download, sample};
use destinations::*;
use satellite_proto::wire::backup::v1 as pb;
use servers::*;
use tonic::Code;

const SERVER: &str = r#"
import asyncio, email, ssl, sys
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

class Keep:
    async def handle_DATA(self, server, session, envelope):
        open("mail.tmp", "wb").write(envelope.content)
        parts = [part for part in email.message_from_bytes(envelope.content).walk() if part.get_filename()]
        open("name", "w").write(parts[0].get_filename())
        open("attachment", "wb").write(parts[0].get_payload(decode=True))
        open("envelope", "w").write(" ".join([envelope.mail_from] + envelope.rcpt_tos))
        import os; os.rename("mail.tmp", "mail")
        return "250 kept"

def sign_in(server, session, envelope, mechanism, data):
    return AuthResult(success=data.login == b"anna" and data.password.decode() == "PASSWORD", handled=False)

tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
tls.load_cert_chain("cert.pem", "key.pem")
port, implicit, limit = int(sys.argv[1]), sys.argv[2] == "tls", int(sys.argv[3])

class Server(Controller):
    def factory(self):
        return SMTP(self.handler, data_size_limit=limit, authenticator=sign_in, auth_required=True, hostname="mail.test",
                    auth_require_tls=not implicit, tls_context=None if implicit else tls, require_starttls=not implicit)

Server(Keep(), hostname="127.0.0.1", port=port, ssl_context=tls if implicit else None).start()
asyncio.new_event_loop().run_forever()
"#;

/// A server with a certificate for 127.0.0.1; `way` is `tls` or `starttls`.
fn smtpd(way: &str, limit: u64) -> Server {
    let (dir, port) = (open_dir(), free_port());
    certificate(dir.path());
    text(
        dir.path().join("server.py"),
        &SERVER.replace("PASSWORD", PASSWORD),
    );
    Server::start(
        dir,
        port,
        &format!("exec /usr/bin/python3 server.py {port} {way} {limit}"),
    )
}

fn mail(server: &Server, security: pb::MailSecurity) -> pb::MailDestination {
    pb::MailDestination {
        server: "127.0.0.1".to_owned(),
        port: server.port.into(),
        security: security.into(),
        user: "anna".to_owned(),
        password: secret(PASSWORD),
        from: "pbx@example.test".to_owned(),
        to: vec!["anna@example.test".to_owned(), "bert@example.test".to_owned()],
        authority: std::fs::read_to_string(server.dir.path().join("cert.pem")).unwrap(),
        ..pb::MailDestination::default()
    }
}

fn at(mail: pb::MailDestination) -> pb::Destination {
    of(pb::destination::Kind::Mail(mail))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_sent_whole_with_starttls_and_with_tls() {
    if !can() {
        return;
    }
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    let archive = create(&mut archives, sample("run-1")).await.unwrap();
    let whole = download(&mut archives, &archive.id, 0).await.unwrap();
    for (way, security) in [
        ("starttls", pb::MailSecurity::Starttls),
        ("tls", pb::MailSecurity::Tls),
    ] {
        let server = smtpd(way, 20_000_000);
        let tested = test(&mut client, at(mail(&server, security))).await;
        assert_eq!(failed(&tested), None, "{tested:?}");
        let most = tested.most_bytes.unwrap();
        assert!((14_000_000..14_700_000).contains(&most), "{most}");
        let done = copy(&mut client, &archive, at(mail(&server, security)))
            .await
            .unwrap();
        assert!(done.not_read_back);
        let kept = |name: &str| std::fs::read(server.dir.path().join(name)).unwrap();
        assert_eq!(kept("attachment"), whole);
        assert_eq!(String::from_utf8(kept("name")).unwrap(), archive.file_name);
        assert_eq!(
            kept("envelope"),
            b"pbx@example.test anna@example.test bert@example.test"
        );
        let text = String::from_utf8_lossy(&kept("mail")).into_owned();
        assert!(text.contains("\nSubject: =?UTF-8?B?"), "{}", &text[..600]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_limit_is_told_before_anything_is_sent() {
    if !can() {
        return;
    }
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    let archive = create(&mut archives, sample("run-1")).await.unwrap();
    let server = smtpd("starttls", 2_000_000);
    let destination = at(mail(&server, pb::MailSecurity::Starttls));
    let refused = copy(&mut client, &archive, destination).await.unwrap_err();
    assert_eq!(
        (refused.code(), kind(&refused)),
        (Code::ResourceExhausted, pb::FaultKind::TooLarge)
    );
    let fault = fault(&refused);
    assert_eq!(fault.needed_bytes, archive.size_bytes);
    assert!(
        (1_400_000..1_470_000).contains(&fault.available_bytes),
        "{fault:?}"
    );
    assert!(!server.dir.path().join("mail").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_mail_server_is_said_and_no_password_goes_in_the_clear() {
    if !can() {
        return;
    }
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    let archive = create(&mut archives, sample("run-1")).await.unwrap();
    let server = smtpd("starttls", 20_000_000);
    let good = mail(&server, pb::MailSecurity::Starttls);
    let stranger = pb::MailDestination {
        authority: String::new(),
        ..good.clone()
    };
    let clear = pb::MailDestination {
        security: pb::MailSecurity::None.into(),
        ..good.clone()
    };
    let twisted = pb::MailDestination {
        to: vec!["anna@example.test>\r\nRCPT TO:<eve@example.test".to_owned()],
        ..good.clone()
    };
    let wrong = pb::MailDestination {
        password: secret("wrong"),
        ..good.clone()
    };
    let nobody = pb::MailDestination {
        port: free_port().into(),
        ..good.clone()
    };
    for (wrong, step, fault) in [
        (stranger, pb::TestStepName::HostKey, pb::FaultKind::Certificate),
        (clear, pb::TestStepName::Description, pb::FaultKind::Description),
        (twisted, pb::TestStepName::Description, pb::FaultKind::Description),
        (wrong, pb::TestStepName::SignIn, pb::FaultKind::SignIn),
        (nobody, pb::TestStepName::Connect, pb::FaultKind::Unreachable),
    ] {
        let tested = test(&mut client, at(wrong.clone())).await;
        assert_eq!(failed(&tested), Some((step, fault)), "{tested:?}");
        let refused = copy(&mut client, &archive, at(wrong)).await.unwrap_err();
        assert_eq!(kind(&refused), fault, "{refused}");
    }
    let path = "starface-backup/x/a.sar";
    let refused = fetch(&mut client, path, at(good)).await.unwrap_err();
    assert_eq!(
        (refused.code(), kind(&refused)),
        (Code::Unimplemented, pb::FaultKind::Unsupported)
    );
}
