// Decode manifests strictly into the types of the projects that read them.
//
//	decode FILE...            each document of each file; a line for each that is refused
//	decode kustomize FOLDER   build a kustomization, decode what comes out, print it
//
// Exit status 1 if anything was refused.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	mesh "istio.io/api/mesh/v1alpha1"
	telemetry "istio.io/api/telemetry/v1alpha1"
	istio "istio.io/istio/operator/pkg/apis"
	apps "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	yamlutil "k8s.io/apimachinery/pkg/util/yaml"
	apiserver "k8s.io/apiserver/pkg/apis/apiserver/v1"
	core "k8s.io/client-go/kubernetes/scheme"
	kubelet "k8s.io/kubelet/config/v1beta1"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/kustomize/api/krusty"
	kustomize "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// document is what every kind has.
type document struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata,omitempty"`
}

var scheme = runtime.NewScheme()

func main() {
	for _, add := range []func(*runtime.Scheme) error{
		core.AddToScheme, monitoring.AddToScheme, apiserver.AddToScheme, kubelet.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	if len(os.Args) == 3 && os.Args[1] == "kustomize" {
		built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), os.Args[2])
		if err != nil {
			refuse(os.Args[2], err)
			os.Exit(1)
		}
		text, err := built.AsYaml()
		if err != nil || !decoded(os.Args[2], text) {
			os.Exit(1)
		}
		os.Stdout.Write(text)
		return
	}
	good := true
	for _, name := range os.Args[1:] {
		text, err := os.ReadFile(name)
		if err != nil {
			panic(err)
		}
		good = decoded(name, text) && good
	}
	if !good {
		os.Exit(1)
	}
}

func refuse(name string, err error) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
}

// decoded decodes each document and says whether none was refused.
func decoded(name string, text []byte) bool {
	good := true
	reader := yamlutil.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		one, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return good
		}
		if err == nil {
			err = decode(one)
		}
		if err != nil {
			refuse(name, err)
			good = false
		}
	}
}

// decode refuses what the types do not know: kinds, fields, values.
func decode(text []byte) error {
	var head document
	if err := yaml.Unmarshal(text, &head); err != nil {
		return err
	}
	switch head.APIVersion + " " + head.Kind {
	case "install.istio.io/v1alpha1 IstioOperator":
		var it istio.IstioOperator
		if err := yaml.UnmarshalStrict(text, &it); err != nil {
			return err
		}
		return message(it.Spec.MeshConfig, &mesh.MeshConfig{})
	case "telemetry.istio.io/v1 Telemetry":
		var it struct {
			document `json:",inline"`
			Spec     map[string]any `json:"spec"`
		}
		if err := yaml.UnmarshalStrict(text, &it); err != nil {
			return err
		}
		return message(it.Spec, &telemetry.Telemetry{})
	case "kustomize.config.k8s.io/v1beta1 Kustomization":
		return yaml.UnmarshalStrict(text, &kustomize.Kustomization{})
	case "opentelemetry.io/v1alpha1 Instrumentation", "jaegertracing.io/v1 Jaeger":
		fmt.Printf("not decoded: %s\n", head.Kind) // no module with their types can be had
		return nil
	}
	codecs := serializer.NewCodecFactory(scheme, serializer.EnableStrict)
	found, _, err := codecs.UniversalDeserializer().Decode(text, nil, nil)
	if it, ok := found.(*apps.Deployment); ok && err == nil {
		return proxy(it.Spec.Template.Annotations["proxy.istio.io/config"])
	}
	return err
}

// proxy decodes what an annotation says to Istio's sidecar.
func proxy(text string) error {
	var part any
	if err := yaml.UnmarshalStrict([]byte(text), &part); err != nil || part == nil {
		return err
	}
	return message(part, &mesh.ProxyConfig{})
}

// message decodes a part into a message of Istio's; its proxies' own reading of it is laxer.
func message(part any, into proto.Message) error {
	text, err := yaml.Marshal(part)
	if err != nil {
		return err
	}
	json, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return err
	}
	return protojson.Unmarshal(json, into)
}
