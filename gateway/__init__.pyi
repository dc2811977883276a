from .app import Gateway
from .errors import AgentError, ConfigError, GatewayError, PeerGone, RequestError
from .model.chat import ChatRequest, Message
from .model.run import RunDone, RunFailed, RunInput, Usage
from .ports import Agent
from .server.limits import Limits

__version__: str
__all__ = [
    "Agent",
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
