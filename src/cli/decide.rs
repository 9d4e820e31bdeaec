//! `stagedoor decide`

use std::io::BufRead as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::{Value, json};

use crate::authorizer::{Authorizer, Decide as _, Offline};
use crate::clock::Now;
use crate::domain::{Decision, Denial, Reason, Verdict};
use crate::ext_authz::proto::FILE_DESCRIPTOR_SET;
use crate::ext_authz::proto::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use crate::ext_authz::{Answer, CheckService, CheckSettings, Decided, Record, Reply};

#[derive(Debug, Args)]
pub(super) struct DecideArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The time to decide at, in seconds since 1970.
    #[arg(long, value_name = "UNIX")]
    now: i64,
    /// The signing keys, as for `token verify`.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// A folder of catalog files to decide by, instead of the configured catalog.
    #[arg(long, value_name = "DIR")]
    catalog: Option<PathBuf>,
}

pub(super) fn run(args: &DecideArgs) -> anyhow::Result<ExitCode> {
    let config = super::config::load(&args.config)?;
    let now = Now::at(args.now);
    let (answer, denials) = (config.answer.clone(), config.denials.clone());
    // On no network nobody waits, and how busy this machine is changes no decision.
    let check = CheckSettings { deadline: NO_DEADLINE, ..config.check.clone() };
    let (keys, catalog) = (args.keys.as_deref(), args.catalog.as_deref());
    let authorizer = super::offline::authorizer(config, keys, catalog, now)?;
    let uri = authorizer.authenticator.authorization_uri();
    let last = Last::default();
    let decider = Decider {
        service: CheckService::new(
            Offline(authorizer.clone()),
            Answer::new(answer, uri.as_ref()).with_denials(denials),
            check,
            Box::new(last.clone()),
        ),
        authorizer,
        last,
        now,
        form: Form::new()?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    for (number, text) in std::io::stdin().lock().lines().enumerate() {
        let output = runtime.block_on(decider.line(&text?));
        super::line(&output.with_context(|| format!("line {}", number + 1))?.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

const NO_DEADLINE: Duration = Duration::from_secs(3600);

/// The decision behind the last reply.
#[derive(Clone, Default)]
struct Last(Arc<Mutex<Option<Decision>>>);

impl Record for Last {
    fn decided(&self, decided: Decided<'_>) {
        if let Ok(mut last) = self.0.lock() {
            *last = Some(decided.decision);
        }
    }
}

struct Decider {
    /// The service that `serve` serves.
    service: CheckService<Offline>,
    authorizer: Authorizer,
    last: Last,
    now: Now,
    form: Form,
}

impl Decider {
    /// Decides one line of input; gives one line of output.
    async fn line(&self, text: &str) -> anyhow::Result<Value> {
        let text = text.trim();
        let json = text.starts_with('{');
        let check = if json { self.form.read(text) } else { raw(text) };
        let (reply, decision) = match &check {
            Ok(check) => {
                let reply = self.service.reply(check, self.now).await;
                let decision = self.last.0.lock().ok().and_then(|mut last| last.take());
                (reply, decision.context("no decision was recorded")?)
            }
            // What Envoy's own client could not have encoded is answered as the server
            // answers it: with a denial.
            Err(error) => {
                let reason = Reason::RequestMalformed;
                let denial = Denial::with_detail(reason, format!("{error:#}"));
                (Reply::denied(reason), self.authorizer.deny(denial))
            }
        };
        let reply = reply.into_message();
        let reply = if json {
            self.form.write(&reply)?
        } else {
            json!(STANDARD.encode(reply.encode_to_vec()))
        };
        Ok(json!({
            "reply": reply,
            "decision": if decision.is_allow() { "allow" } else { "deny" },
            "reason": decision.code(),
            "explanation": explanation(&decision),
        }))
    }
}

fn raw(text: &str) -> anyhow::Result<CheckRequest> {
    let bytes = STANDARD.decode(text).context("expected a JSON object or base64")?;
    CheckRequest::decode(bytes.as_slice()).context("not a CheckRequest")
}

/// The protobuf JSON form of the messages.
struct Form {
    request: MessageDescriptor,
    response: MessageDescriptor,
}

impl Form {
    fn new() -> anyhow::Result<Self> {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET)?;
        let message = |name: &str| {
            pool.get_message_by_name(&format!("envoy.service.auth.v3.{name}"))
                .ok_or_else(|| anyhow!("`{name}` is not described"))
        };
        Ok(Self { request: message("CheckRequest")?, response: message("CheckResponse")? })
    }

    fn read(&self, text: &str) -> anyhow::Result<CheckRequest> {
        let mut json = serde_json::Deserializer::from_str(text);
        // Envoy's messages have more fields than ours: unknown ones are skipped here
        // as they are on the wire.
        let options = prost_reflect::DeserializeOptions::new().deny_unknown_fields(false);
        let message =
            DynamicMessage::deserialize_with_options(self.request.clone(), &mut json, &options)?;
        json.end()?;
        Ok(message.transcode_to()?)
    }

    fn write(&self, response: &CheckResponse) -> anyhow::Result<Value> {
        let mut message = DynamicMessage::new(self.response.clone());
        message.transcode_from(response)?;
        match serde_json::to_value(&message)? {
            value @ Value::Object(_) => Ok(value),
            other => bail!("a reply that is no object: {other}"),
        }
    }
}

/// Why a decision came out as it did.
pub(super) fn explanation(decision: &Decision) -> Value {
    let (detail, advice) = match &decision.verdict {
        Verdict::Deny(denial) => (denial.detail.as_deref(), denial.advice.as_slice()),
        Verdict::Allow(_) => (None, &[][..]),
    };
    let target = decision.target.as_ref().map(|target| {
        json!({
            "route": &*target.route,
            "gate": target.gate.as_str(),
            "action": target.action.as_str(),
            "entity": target.resource.as_ref().map(|resource| resource.as_str()),
        })
    });
    json!({
        "detail": detail,
        "advice": advice.iter().map(|text| &**text).collect::<Vec<_>>(),
        "principal": decision.principal.identity().map(super::token::principal),
        "target": target,
        "owners": decision.owners.iter().map(|owner| json!({
            "entity": owner.entity.as_str(), "title": &*owner.title,
        })).collect::<Vec<_>>(),
        "policies": decision.policies().iter().map(|id| &**id).collect::<Vec<_>>(),
        "policy_version": decision.versions.policy.as_deref(),
        "snapshot_version": decision.versions.snapshot.as_deref(),
        "keys_version": decision.versions.keys.as_deref(),
    })
}
