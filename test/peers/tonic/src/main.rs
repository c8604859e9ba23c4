//! The cells of the stream matrix (test/support/stream-cells.ts) by tonic: hyper's HTTP/2 and rustls, messages are text.

use std::{env, fs, io, time::Duration};

use bytes::{Buf, BufMut};
use serde::{Deserialize, Serialize};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use http::uri::PathAndQuery;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic::{Code, Request, Status, Streaming};

#[derive(Deserialize, Clone)]
#[serde(rename_all = "camelCase")]
struct Cell {
    method: String,
    kind: String,
    sent: Vec<String>,
    pause_ms: u64,
    deadline_ms: u64,
}

#[derive(Serialize)]
struct Ended {
    code: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    messages: Vec<String>,
}

/// Of messages with one field of text, number 1.
#[derive(Default)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;
    fn encode(&mut self, item: String, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&[0x0a, item.len() as u8]);
        to.put_slice(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        Ok(Some(String::from_utf8_lossy(&bytes[2..]).into_owned()))
    }
}

/// What is sent, with its pauses.
fn requests(cell: &Cell) -> impl Stream<Item = String> + Send + 'static {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let Cell { sent, pause_ms, .. } = cell.clone();
    tokio::spawn(async move {
        for text in sent {
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            if sender.send(text).await.is_err() {
                return; // the call is over
            }
        }
    });
    ReceiverStream::new(receiver)
}

async fn take(mut from: Streaming<String>, messages: &mut Vec<String>) -> Result<(), Status> {
    while let Some(message) = from.message().await? {
        messages.push(message);
    }
    Ok(())
}

async fn call(channel: &Channel, cell: &Cell, messages: &mut Vec<String>) -> Result<(), Status> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let path = PathAndQuery::try_from(format!("/streams.v1.Streams/{}", cell.method)).expect("a path");
    let deadline = Duration::from_millis(cell.deadline_ms);
    let mut sent = requests(cell);
    if cell.kind == "client" || cell.kind == "bidi" {
        let mut request = Request::new(sent);
        request.set_timeout(deadline);
        if cell.kind == "client" {
            messages.push(client.client_streaming(request, path, Text).await?.into_inner());
            return Ok(());
        }
        return take(client.streaming(request, path, Text).await?.into_inner(), messages).await;
    }
    let mut request = Request::new(sent.next().await.expect("a message"));
    request.set_timeout(deadline);
    if cell.kind == "unary" {
        messages.push(client.unary(request, path, Text).await?.into_inner());
        return Ok(());
    }
    take(client.server_streaming(request, path, Text).await?.into_inner(), messages).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let words: Vec<String> = env::args().collect();
    let scheme = if words.len() > 2 { "https" } else { "http" };
    let mut endpoint = Channel::from_shared(format!("{scheme}://{}", words[1])).expect("an address");
    if let Some(file) = words.get(2) {
        let trusted = Certificate::from_pem(fs::read(file).expect("a certificate"));
        endpoint = endpoint.tls_config(ClientTlsConfig::new().ca_certificate(trusted)).expect("a certificate");
    }
    let channel = endpoint.connect().await.expect("a connection");
    let cells: Vec<Cell> = serde_json::from_reader(io::stdin()).expect("cells");
    for cell in &cells {
        let mut messages = vec![];
        let status = call(&channel, cell, &mut messages).await.err();
        let code = status.as_ref().map_or(Code::Ok, Status::code) as i32;
        let text = status.map(|said| said.message().to_owned());
        println!("{}", serde_json::to_string(&Ended { code, text, messages }).expect("JSON"));
    }
}
