// A collector with the parts that the manifests name: its own reading of their configurations.
//
//	collector validate --config=FILE
package main

import (
	"context"
	"errors"
	"log"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/healthcheckextension"
	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/jaegerreceiver"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/envprovider"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/otlpexporter"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/batchprocessor"
	"go.opentelemetry.io/collector/processor/memorylimiterprocessor"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
)

func main() {
	command := otelcol.NewCommand(otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "collector", Description: "for manifests", Version: "0"},
		Factories: factories,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{
			ResolverSettings: confmap.ResolverSettings{
				ProviderFactories: []confmap.ProviderFactory{
					envprovider.NewFactory(), fileprovider.NewFactory(),
				},
			},
		},
	})
	if err := command.Execute(); err != nil {
		log.Fatal(err)
	}
}

func factories() (made otelcol.Factories, err error) {
	made.Telemetry = otelconftelemetry.NewFactory()
	made.Receivers, err = otelcol.MakeFactoryMap[receiver.Factory](
		otlpreceiver.NewFactory(), jaegerreceiver.NewFactory())
	if err != nil {
		return made, err
	}
	made.Processors, err = otelcol.MakeFactoryMap[processor.Factory](
		memorylimiterprocessor.NewFactory(), batchprocessor.NewFactory())
	if err != nil {
		return made, err
	}
	made.Exporters, err = otelcol.MakeFactoryMap[exporter.Factory](otlpexporter.NewFactory())
	if err != nil {
		return made, err
	}
	made.Extensions, err = otelcol.MakeFactoryMap[extension.Factory](
		healthcheckextension.NewFactory(), samplingFactory())
	return made, err
}

// sampling has the fields of contrib's jaegerremotesampling extension, whose module cannot be had;
// the servers and the client in it are the collector's own types.
type sampling struct {
	HTTP   *confighttp.ServerConfig `mapstructure:"http"`
	GRPC   *configgrpc.ServerConfig `mapstructure:"grpc"`
	Source struct {
		Remote         *configgrpc.ClientConfig `mapstructure:"remote"`
		File           string                   `mapstructure:"file"`
		ReloadInterval time.Duration            `mapstructure:"reload_interval"`
	} `mapstructure:"source"`
}

func (it *sampling) Validate() error {
	if it.HTTP == nil && it.GRPC == nil {
		return errors.New("neither http nor grpc")
	}
	if (it.Source.File == "") == (it.Source.Remote == nil) {
		return errors.New("either file or remote")
	}
	return nil
}

func samplingFactory() extension.Factory {
	return extension.NewFactory(
		component.MustNewType("jaegerremotesampling"),
		func() component.Config { return &sampling{} },
		func(context.Context, extension.Settings, component.Config) (extension.Extension, error) {
			return nothing{}, nil
		},
		component.StabilityLevelBeta,
	)
}

// nothing is an extension that does nothing.
type nothing struct {
	component.StartFunc
	component.ShutdownFunc
}
