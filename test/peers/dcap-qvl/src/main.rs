//! Judges TDX quotes with collateral by dcap-qvl: one case as JSON on a line of stdin, one verdict on a line of stdout.

use std::collections::HashMap;
use std::io::{stdin, stdout, BufRead, Write};

use base64::prelude::{Engine, BASE64_STANDARD};
use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::QuoteCollateralV3;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct TestCase {
    kind: String,
    /// Milliseconds since 1970.
    now: i64,
    /// In base64.
    bytes: HashMap<String, String>,
    lists: HashMap<String, Vec<String>>,
}

#[derive(Serialize)]
struct Verdict {
    accept: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    value: String,
}

impl TestCase {
    fn part(&self, name: &str) -> Vec<u8> {
        let text = self.bytes.get(name).map_or("", String::as_str);
        BASE64_STANDARD.decode(text).expect("base64")
    }

    /// A document is text here; one that is none was refused by its signature long ago.
    fn text(&self, name: &str) -> Result<String, String> {
        String::from_utf8(self.part(name)).map_err(|_| format!("{name} is not text"))
    }

    fn pem(&self, name: &str) -> String {
        let certificates = self.lists.get(name).into_iter().flatten();
        certificates
            .map(|der| format!("-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n"))
            .collect()
    }

    fn judge(&self) -> Result<String, String> {
        assert_eq!(self.kind, "tdx-status", "a kind that nobody judges here");
        let collateral = QuoteCollateralV3 {
            pck_crl_issuer_chain: self.pem("pckCrlChain"),
            root_ca_crl: self.part("rootCrl"),
            pck_crl: self.part("pckCrl"),
            tcb_info_issuer_chain: self.pem("tcbInfoChain"),
            tcb_info: self.text("tcbInfo")?,
            tcb_info_signature: self.part("tcbInfoSignature"),
            qe_identity_issuer_chain: self.pem("qeIdentityChain"),
            qe_identity: self.text("qeIdentity")?,
            qe_identity_signature: self.part("qeIdentitySignature"),
            pck_certificate_chain: None,
        };
        let now = u64::try_from(self.now / 1000).map_err(|_| "before 1970".to_string())?;
        QuoteVerifier::new(self.part("root"))
            .verify(&self.part("quote"), &collateral, now)
            .map(|report| report.status)
            .map_err(|error| format!("{error:#}"))
    }
}

fn main() {
    let mut out = stdout().lock();
    for line in stdin().lock().lines() {
        let case: TestCase = serde_json::from_str(&line.expect("a line")).expect("a case");
        // A verifier that panics has accepted nothing.
        let judged = std::panic::catch_unwind(|| case.judge()).unwrap_or_else(|_| Err("panic".to_string()));
        let verdict = match judged {
            Ok(value) => Verdict { accept: true, reason: String::new(), value },
            Err(reason) => Verdict { accept: false, reason, value: String::new() },
        };
        serde_json::to_writer(&mut out, &verdict).expect("a verdict");
        out.write_all(b"\n").and_then(|()| out.flush()).expect("an open pipe");
    }
}
