"""From the handler's name to the function, with AWS's error for every way that fails."""

import importlib
import os
import site
import sys

from .faults import Fault

LAYER_ROOT = "/opt/python"


def set_paths():
    """Puts `sys.path` in AWS's order: the function, its layers, the runtime, the interpreter.

    A `PYTHONPATH` of the customer's replaces the layers' folders, as there. `.pth` files count.
    Returns the folders of the function and its layers.
    """
    task_root = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
    runtime_directory = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    # The interpreter put the script's folder first, where it would shadow the customer's modules.
    sys.path[:] = [entry for entry in sys.path if entry not in ("", runtime_directory)]
    front = [task_root]
    if "PYTHONPATH" not in os.environ:
        version = "python%d.%d" % sys.version_info[:2]
        front += ["%s/lib/%s/site-packages" % (LAYER_ROOT, version), LAYER_ROOT]
        os.environ["PYTHONPATH"] = os.environ.get("LAMBDA_RUNTIME_DIR", runtime_directory)
    sys.path[:0] = front + [runtime_directory]
    for directory in front:
        site.addsitedir(directory)
    return front


def unload_shadowed(folders, extra):
    """Forgets those of the modules in `extra` whose names the function or its layers use themselves: an
    import has to find theirs. In `extra` are those that a process forked from the zygote has and one
    that was started for the function has not."""
    if not extra:
        return
    own = set()
    for folder in folders:
        try:
            own.update(entry.partition(".")[0] for entry in os.listdir(folder))
        except OSError:
            pass
    for name in extra:
        if name.partition(".")[0] in own:
            sys.modules.pop(name, None)


def load(name):
    """The callable that the handler string `module.function` or `folder/module.function` names."""
    try:
        module_name, function_name = name.rsplit(".", 1)
    except ValueError as error:
        raise Fault(Fault.MALFORMED_HANDLER_NAME, "Bad handler '%s': %s" % (name, error))
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise Fault(
            Fault.BUILT_IN_MODULE_CONFLICT,
            "Cannot use built-in module %s as a handler module" % module_name,
        )
    module = _import(module_name)
    try:
        return getattr(module, function_name)
    except AttributeError:
        raise Fault(
            Fault.HANDLER_NOT_FOUND,
            "Handler '%s' missing on module '%s'" % (function_name, module_name),
        )


def _import(module_name):
    try:
        return importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise Fault(
            Fault.IMPORT_MODULE_ERROR,
            "Unable to import module '%s': %s" % (module_name, error),
        )
    except SyntaxError as error:
        trace = '  File "%s" Line %s\n    %s' % (error.filename, error.lineno, error.text)
        raise Fault(
            Fault.USER_CODE_SYNTAX_ERROR,
            "Syntax error in module '%s': %s" % (module_name, error),
            [trace],
        )
