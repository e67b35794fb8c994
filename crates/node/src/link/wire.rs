//! The link's service, by gRPC: one method, with a stream of frames each way.

use super::frame::MAX_BYTES;
use bytes::{Buf, BufMut, Bytes};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::client::Grpc as Client;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{Service, http};
use tonic::server::{Grpc as Server, NamedService};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

const NAME: &str = "tandem.Link";
const PATH: &str = "/tandem.Link/Frames";

/// Frames are bytes here.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Opens the streams to another node: what is put into the channel goes there.
pub(super) async fn open(channel: Channel, out: mpsc::Receiver<Bytes>) -> Result<Streaming<Bytes>, Status> {
    let mut client = Client::new(channel).max_decoding_message_size(MAX_BYTES);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let request = Request::new(ReceiverStream::new(out));
    Ok(client.streaming(request, PathAndQuery::from_static(PATH), Raw).await?.into_inner())
}

/// Takes the streams of another node: its frames, and where answers are put.
pub(super) trait Accept: Send + Sync + 'static {
    /// Another node has opened its streams.
    fn accept(&self, frames: Streaming<Bytes>, answers: mpsc::Sender<Result<Bytes, Status>>);
}

/// Answers that wait for one other node.
const ANSWERS_MAX: usize = 256;

/// The service of a node.
pub(super) struct LinkService<A> {
    accept: Arc<A>,
}

impl<A> LinkService<A> {
    pub(super) fn new(accept: Arc<A>) -> Self {
        Self { accept }
    }
}

impl<A> Clone for LinkService<A> {
    fn clone(&self) -> Self {
        Self { accept: self.accept.clone() }
    }
}

impl<A> NamedService for LinkService<A> {
    const NAME: &'static str = NAME;
}

/// The service's one method.
struct Frames<A>(Arc<A>);

impl<A: Accept> Service<Request<Streaming<Bytes>>> for Frames<A> {
    type Response = Response<ReceiverStream<Result<Bytes, Status>>>;
    type Error = Status;
    type Future = Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let (answers, from_here) = mpsc::channel(ANSWERS_MAX);
        self.0.accept(request.into_inner(), answers);
        ready(Ok(Response::new(ReceiverStream::new(from_here))))
    }
}

impl<A: Accept> Service<http::Request<Body>> for LinkService<A> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let accept = self.accept.clone();
        Box::pin(async move {
            if request.uri().path() != PATH {
                return Ok(Status::unimplemented("no such method").into_http());
            }
            let mut server = Server::new(Raw).max_decoding_message_size(MAX_BYTES);
            Ok(server.streaming(Frames(accept), request).await)
        })
    }
}
