//! The OpenAPI document, the route table and docs/api.md say the same.

use crate::common::Lab;
use kith_web::VaultState;
use serde_json::Value;

fn document() -> Value {
    serde_json::from_str(&kith_web::openapi()).unwrap()
}

#[test]
fn the_checked_in_document_is_current() {
    let held =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json")).unwrap_or_default();
    assert!(
        held.trim_end() == kith_web::openapi().trim_end(),
        "run `cargo xtask gen` and commit web-ui/openapi.json"
    );
}

#[test]
fn every_documented_operation_exists_and_no_other_method_does() {
    let lab = Lab::new(VaultState::Unlocked);
    let id = "08".repeat(32);
    let account = kith_wire::ids::AccountId([3; 32]).to_text();
    let mut operations = 0;
    for (template, methods) in document()["paths"].as_object().unwrap() {
        let path = template.replace("{id}", &id).replace("{event}", &id).replace("{account}", &account);
        assert!(!path.contains('{'), "{template}");
        for method in ["get", "put", "post", "delete", "patch"] {
            let answer = lab.program(&method.to_uppercase(), &path, "");
            let documented = methods.get(method).is_some();
            assert_eq!(documented, answer.status != 405, "{method} {template}: {}", answer.status);
            operations += usize::from(documented);
        }
    }
    assert!(operations >= 40, "{operations}");
}

#[test]
fn the_contract_of_the_web_app_is_covered() {
    let document = document();
    let contract = include_str!("../../../docs/api.md");
    let mut rows = 0;
    for row in contract.lines().filter(|l| {
        l.starts_with("| GET")
            || l.starts_with("| PUT")
            || l.starts_with("| POST")
            || l.starts_with("| DELETE")
    }) {
        let cell = row.split('|').nth(1).unwrap();
        let method_names = cell.trim().split(' ').next().unwrap();
        let path = cell.split('`').nth(1).unwrap().split('?').next().unwrap();
        let item = &document["paths"][format!("/api/v1{path}")];
        for method in method_names.split('/') {
            assert!(item.get(method.to_lowercase()).is_some(), "{method} {path} is in docs/api.md only");
        }
        rows += 1;
    }
    assert!(rows > 25, "{rows}");
}

#[test]
fn every_operation_names_problem_json_except_the_open_ones() {
    for (path, methods) in document()["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let open = path.ends_with("/health") || path.ends_with("/openapi.json");
            assert!(open || operation["responses"].get("default").is_some(), "{method} {path}");
        }
    }
}
