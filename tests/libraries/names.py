"""The public names of packages, as JSON: module → names that are defined in the package.

python names.py jaeger_client flask_opentracing grpc_opentracing
"""

import importlib
import json
import pkgutil
import sys
import types


def names_of(module, package):
    for name, value in vars(module).items():
        if name.startswith("_") or isinstance(value, types.ModuleType):
            continue
        home = getattr(value, "__module__", None)
        if isinstance(value, (type, types.FunctionType)):
            if (home or "").partition(".")[0] == package:
                yield name
        elif isinstance(value, (str, int, float)) and not isinstance(value, type):
            yield name


def main(packages):
    found = {}
    for package in packages:
        whole = importlib.import_module(package)
        modules = [package]
        modules += [it.name for it in pkgutil.walk_packages(whole.__path__, package + ".")]
        for name in modules:
            if any(part.startswith("_") or part == "thrift_gen" for part in name.split(".")):
                continue
            found[name] = sorted(names_of(importlib.import_module(name), package))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
