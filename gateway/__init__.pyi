from .app import Gateway
from .errors import AgentError, ConfigError, GatewayError, PeerGone, RequestError, ToolError
from .model.caller import Caller
from .model.chat import ChatRequest, Message
from .model.key import Key, Rate
from .model.run import RunDone, RunFailed, RunInput, Usage
from .ports import Agent
from .server.limits import Limits

__version__: str
__all__ = [
    "Agent",
    "AgentError",
    "Caller",
    "ChatRequest",
    "ConfigError",
    "Gateway",
    "GatewayError",
    "Key",
    "Limits",
    "Message",
    "PeerGone",
    "Rate",
    "RequestError",
    "RunDone",
    "RunFailed",
    "RunInput",
    "ToolError",
    "Usage",
    "__version__",
]
