from .app import Gateway
from .errors import AgentError, ConfigError, GatewayError, PeerGone, RequestError
from .model.chat import ChatRequest, Message
from .model.run import RunDone, RunFailed, RunInput, Usage
from .server.limits import Limits

__version__: str
__all__ = [
    "AgentError",
    "ChatRequest",
    "ConfigError",
    "Gateway",
    "GatewayError",
    "Limits",
    "Message",
    "PeerGone",
    "RequestError",
    "RunDone",
    "RunFailed",
    "RunInput",
    "Usage",
    "__version__",
]
