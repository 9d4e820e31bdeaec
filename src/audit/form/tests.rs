use serde_json::{Value, json};

use super::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/audit.schema.json");

/// Fails with the place where a record breaks the schema.
pub(in crate::audit) fn follows_schema(record: &Value) {
    let validator = jsonschema::validator_for(&schema()).expect("a schema");
    if let Err(error) = validator.validate(record) {
        panic!("{error} at {} of {record:#}", error.instance_path());
    }
}

/// To write it anew: `UPDATE_SCHEMA=1 cargo nextest run audit::form`.
#[test]
fn the_schema_in_the_docs_is_this_one() {
    let now = format!("{:#}\n", schema());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(FILE, &now).expect("written");
    }
    assert_eq!(std::fs::read_to_string(FILE).expect("a file"), now, "run it with UPDATE_SCHEMA=1");
}

#[test]
fn the_schema_tells_records_from_what_are_none() {
    let validator = jsonschema::validator_for(&schema()).expect("a schema");
    let decision = json!({
        "version": 1, "time": "2023-11-14T22:13:20.123Z", "decision_id": "d",
        "decision": "deny", "reason": "no_route", "latency_us": 41,
    });
    let gap = json!({
        "version": 1, "time": "2023-11-14T22:13:20.123Z", "event": "audit_gap", "lost": 3,
        "since": "2023-11-14T22:13:19.123Z",
    });
    let held = json!({
        "version": 1, "time": "2023-11-14T22:13:20.123Z", "event": "catalog_held",
    });
    let config = json!({
        "version": 1, "time": "2023-11-14T22:13:20.123Z", "event": "config_refused",
        "config_version": "ab", "detail": "a.yaml:1:1: no",
    });
    let with = |record: &Value, member: &str, value: Value| {
        let mut record = record.clone();
        record[member] = value;
        record
    };
    for good in
        [&decision, &gap, &held, &config, &with(&decision, "member_of_a_later_day", json!(1))]
    {
        follows_schema(good);
        serde_json::from_value::<RecordForm<'_>>(good.clone()).expect("a record");
    }
    for bad in [
        json!({}),
        json!([]),
        with(&decision, "decision", json!("maybe")),
        with(&decision, "time", json!("yesterday")),
        with(&decision, "version", json!(2)),
        with(&decision, "entity", json!(null)),
        with(&decision, "principal", json!(null)),
        with(&decision, "event", json!("no_such_event")),
        with(&decision, "cache", json!({ "token": "yes", "decision": true })),
        with(&gap, "lost", json!(-1)),
        with(&held, "event", json!("catalog_lost")),
    ] {
        assert!(!validator.is_valid(&bad), "{bad}");
    }
}
