// A hop made of Jaeger's own client for Go: it takes a call over HTTP or gRPC, joins the trace that
// the call belongs to, and calls the next address of "x-route" (comma-separated) in the same trace.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/opentracing/opentracing-go"
	"github.com/opentracing/opentracing-go/ext"
	"github.com/uber/jaeger-client-go/config"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"
)

const method = "/interop.Hop/Call"

// raw passes bytes as they are, so no message has to be defined.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }
func (raw) Name() string                       { return "proto" }

// carrier writes into and reads from the metadata of a call.
type carrier metadata.MD

func (c carrier) Set(key, value string) {
	key = strings.ToLower(key)
	c[key] = append(c[key], value)
}

func (c carrier) ForeachKey(each func(key, value string) error) error {
	for key, values := range c {
		for _, value := range values {
			if err := each(key, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// hop is what happens in every call: a server span, what it saw of the baggage, the next call.
func hop(tracer opentracing.Tracer, parent opentracing.SpanContext, route, baggage string) string {
	span := tracer.StartSpan("go", ext.RPCServerOption(parent))
	defer span.Finish()
	if baggage != "" {
		span.SetBaggageItem("user", baggage)
	}
	seen := "go:" + span.BaggageItem("user")
	next, rest, _ := strings.Cut(route, ",")
	if next == "" {
		return seen
	}
	client := tracer.StartSpan("go calls", opentracing.ChildOf(span.Context()), ext.SpanKindRPCClient)
	defer client.Finish()
	if address, isGRPC := strings.CutPrefix(next, "grpc://"); isGRPC {
		return seen + " " + overGRPC(tracer, client, address, rest)
	}
	request, _ := http.NewRequest("GET", next, nil)
	request.Header.Set("x-route", rest)
	must(tracer.Inject(client.Context(), opentracing.HTTPHeaders, opentracing.HTTPHeadersCarrier(request.Header)))
	response, err := http.DefaultClient.Do(request)
	must(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(err)
	return seen + " " + string(body)
}

func overGRPC(tracer opentracing.Tracer, client opentracing.Span, address, rest string) string {
	connection, err := grpc.Dial(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(err)
	defer connection.Close()
	sent := carrier{"x-route": {rest}}
	must(tracer.Inject(client.Context(), opentracing.TextMap, sent))
	ctx := metadata.NewOutgoingContext(context.Background(), metadata.MD(sent))
	var in, out []byte
	must(connection.Invoke(ctx, method, &in, &out))
	return string(out)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	settings, err := config.FromEnv()
	must(err)
	tracer, closer, err := settings.NewTracer()
	must(err)
	encoding.RegisterCodec(raw{})

	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		parent, _ := tracer.Extract(opentracing.HTTPHeaders, opentracing.HTTPHeadersCarrier(r.Header))
		fmt.Fprint(w, hop(tracer, parent, r.Header.Get("x-route"), r.Header.Get("x-set-baggage")))
	})
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		var in []byte
		if err := stream.RecvMsg(&in); err != nil {
			return err
		}
		sent, _ := metadata.FromIncomingContext(stream.Context())
		parent, _ := tracer.Extract(opentracing.TextMap, carrier(sent))
		out := []byte(hop(tracer, parent, strings.Join(sent.Get("x-route"), ","), ""))
		return stream.SendMsg(&out)
	}))
	web, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	calls, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go http.Serve(web, nil)
	go server.Serve(calls)
	fmt.Printf("http://%s/ grpc://%s\n", web.Addr(), calls.Addr())
	io.Copy(io.Discard, os.Stdin) // until the test lets go
	closer.Close()
}
